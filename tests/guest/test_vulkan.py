# SPDX-License-Identifier: Apache-2.0
"""Vulkan in an unmodified guest: Mesa's gfxstream driver on our device, which renders with a driver
of this machine."""

import base64
import re
import subprocess
import time

import pytest

import lab_programs
import pictures
import vulkan_guest
from conftest import driver_features
from lab import Door, swede_program, wait_until
from vulkan_guest import GFXSTREAM

OBJECTS = ("resources", "contexts", "mappings", "pending_commands", "pending_fences", "host_bytes")
VK_ERROR_OUT_OF_DEVICE_MEMORY = -2
WINDOW_MEGABYTES = 1024  # conftest.py, vulkan


def objects(machine):
    census = machine.info()["census"]
    return {key: census[key] for key in OBJECTS}


def settled_objects(machine, samples=10):
    """The objects once they stay the same for a second: weston with GL makes and drops some."""
    last = []

    def settled():
        time.sleep(0.1)
        last.append(objects(machine))
        return len(last) > samples and all(one == last[-1] for one in last[-samples:])

    wait_until(settled, 30, "a steady number of objects")
    return last[-1]


def no_more_than(machine, before):
    now = objects(machine)
    return all(now[key] <= before[key] for key in OBJECTS)


@pytest.fixture(name="weston", scope="module")
def _weston(vulkan):
    """The machine with weston on its screen."""
    vulkan_guest.start_weston(vulkan.guest, "pixman")
    return vulkan


@pytest.fixture(name="gl_weston", scope="module")
def _gl_weston(vulkan_gl):
    """The machine with GL, and on its screen a weston that draws with it."""
    vulkan_gl.guest.expect_agent()
    vulkan_gl.first_objects = settled_objects(vulkan_gl)
    vulkan_guest.start_weston(vulkan_gl.guest, "gl")
    # What weston makes for its first client, it keeps.
    vulkan_gl.guest.check(
        vulkan_guest.command(GFXSTREAM, f"cube {vulkan_guest.FEW_FRAMES}", "gl"), 120)
    return vulkan_gl


def take_cube(machine, compositor):
    """Draws a cube and checks its picture; returns how it was presented."""
    vulkan_guest.start_cube(machine.guest, GFXSTREAM, compositor)
    way = vulkan_guest.presentation(machine.guest)
    vulkan_guest.hold_cube(machine.guest)
    picture = vulkan_guest.steady_picture(lambda: pictures.load(machine.screenshot()))
    vulkan_guest.check_cube(picture)
    vulkan_guest.stop_cube(machine.guest)
    return way


def test_kernel_sees_a_device_that_renders(vulkan):
    features = driver_features(vulkan.guest)
    for name in ("virgl", "edid", "resource_blob", "host_visible", "context_init"):
        assert features[name], features
    assert "cap set 0: id 3" in vulkan.guest.check("dmesg | grep 'cap set'")


def test_vulkaninfo_names_a_device_of_this_machine(vulkan):
    before = objects(vulkan)
    found = vulkan_guest.devices(vulkan.guest, GFXSTREAM)
    assert len(found) == 1, found
    doctor = subprocess.run([swede_program(), "doctor"], capture_output=True, text=True, timeout=120,
                            check=False, env=lab_programs.host_environment())
    assert found[0].name in doctor.stdout
    wait_until(lambda: objects(vulkan) == before, 10, f"the objects of before ({before})")


def test_vulkaninfo_gets_through_all_it_asks(vulkan):
    vulkan.guest.check(vulkan_guest.command(GFXSTREAM, "vulkaninfo > /tmp/vulkaninfo"), 180)
    text = vulkan.guest.check("cat /tmp/vulkaninfo")
    for section in ("VkPhysicalDeviceProperties:", "VkPhysicalDeviceMemoryProperties:",
                    "VkPhysicalDeviceFeatures:", "VkPhysicalDeviceVulkan13Features:"):
        assert section in text


@pytest.mark.parametrize("command", ["vk_compute --words 100003", "vk_triangle --size 250"])
def test_results_are_those_of_this_machines_driver(vulkan, tmp_path, command):
    name, *arguments = command.split()
    native = lab_programs.run(lab_programs.native_command(name, *arguments, "--out",
                                                          tmp_path / "native"))
    answer = vulkan.guest.check(vulkan_guest.command(GFXSTREAM, f"{command} --out /tmp/result"), 120)
    assert lab_programs.Answer(0, answer, "").line() == native.line()
    result = base64.b64decode(vulkan.guest.check("base64 /tmp/result", 120))
    assert result == (tmp_path / "native").read_bytes()


def test_threads_have_rings_of_their_own(vulkan):
    before = objects(vulkan)
    answer = vulkan.guest.check(
        vulkan_guest.command(GFXSTREAM, "vk_threads --threads 4 --rounds 3"), 180)
    assert lab_programs.Answer(0, answer, "").line()["threads"] == 4
    wait_until(lambda: objects(vulkan) == before, 10, f"the objects of before ({before})")


def test_full_window_fails_a_map_and_the_program_works_on(vulkan):
    """The guest's kernel has no address left; the limit of host memory is above the window."""
    compute = vulkan_guest.command(GFXSTREAM, "vk_compute --words 1000")
    vulkan.guest.check(compute, 120)
    before = objects(vulkan)
    answer = vulkan.guest.check(vulkan_guest.command(
        GFXSTREAM, "vk_memory --fresh-megabytes 0 --chunk-megabytes 64 --map 1"
                   " --most-megabytes 4096"), 180)
    line = lab_programs.Answer(0, answer, "").line()
    assert line["end"] == "it cannot be mapped" and line["map"] == VK_ERROR_OUT_OF_DEVICE_MEMORY
    assert 512 <= line["taken_megabytes"] < WINDOW_MEGABYTES  # rings of the program lie there, too
    vulkan.guest.check(compute, 120)
    wait_until(lambda: objects(vulkan) == before, 10, f"the objects of before ({before})")


def test_cube_is_in_the_picture(weston):
    before = objects(weston)
    assert take_cube(weston, "pixman") == vulkan_guest.COPIED
    # Weston keeps its buffers, and the driver gives resources back a little later.
    wait_until(lambda: objects(weston)["contexts"] == before["contexts"], 10, "the context's end")


def kill_cubes(machine, compositor):
    """Cubes that are killed leave nothing, and others can follow."""
    guest = machine.guest
    few = vulkan_guest.command(GFXSTREAM, f"cube {vulkan_guest.FEW_FRAMES}", compositor)
    guest.check(few, 120)
    before = settled_objects(machine)
    for _ in range(2):
        vulkan_guest.start_cube(guest, GFXSTREAM, compositor)
        guest.check("killall -KILL vkcube")
        wait_until(lambda: no_more_than(machine, before), 15, f"the objects of before ({before})")
    guest.check(few, 120)


def test_cubes_that_are_killed_leave_nothing(weston):
    kill_cubes(weston, "pixman")


def test_reboot_leaves_nothing_behind(vulkan):
    """Last of those on this machine: the guest is another one afterwards."""
    guest = vulkan.guest
    guest.check("sync")
    guest.reset()
    vulkan_guest.devices(guest, GFXSTREAM)
    first = {"process": vulkan.device.census(), "objects": objects(vulkan)}
    vulkan_guest.start_weston(guest, "pixman")
    vulkan_guest.start_cube(guest, GFXSTREAM)
    if vulkan.door is Door.VHOST_USER:
        # QEMU 11.1.3 ends with SIGSEGV if blobs are mapped (src/transports/vhost_user/README.md).
        vulkan_guest.stop_cube(guest)
        wait_until(lambda: objects(vulkan)["mappings"] == first["objects"]["mappings"], 10,
                   "the end of the mappings")
    guest.reset()
    vulkan_guest.devices(guest, GFXSTREAM)
    wait_until(lambda: {"process": vulkan.device.census(), "objects": objects(vulkan)} == first,
               15, f"the census of the first boot ({first})")
    guest.stop()
    wait_until(lambda: vulkan.device.census() == vulkan.census_before, 10,
               f"the census at start ({vulkan.census_before}) after the guest has gone")


def test_compositor_draws_with_our_device(gl_weston):
    assert vulkan_guest.gl_renderer(gl_weston.guest).startswith("zink ")
    assert objects(gl_weston)["contexts"] > 0


def test_images_for_compositors_on_a_kernel_with_udmabuf_and_gbm(gl_weston):
    """tests/unit/cross_domain/kernel_images_test.cpp: this machine may have neither, the guest has both."""
    output = gl_weston.guest.check("MESA_LOADER_DRIVER_OVERRIDE=kms_swrast LD_LIBRARY_PATH=/swede/lib "
                                   + vulkan_guest.command(GFXSTREAM, "cross_domain_kernel_test", "gl"), 120)
    assert re.search(r"\[  PASSED  \] [5-9] tests", output), output


def test_cube_is_handed_over_as_dma_bufs(gl_weston):
    before = settled_objects(gl_weston)["contexts"]
    assert take_cube(gl_weston, "gl") == vulkan_guest.HANDED_OVER
    wait_until(lambda: objects(gl_weston)["contexts"] == before, 10, "the context's end")


def test_cube_on_the_same_compositor_by_copies(gl_weston):
    assert take_cube(gl_weston, "pixman") == vulkan_guest.COPIED


def test_cubes_with_dma_bufs_that_are_killed_leave_nothing(gl_weston):
    kill_cubes(gl_weston, "gl")


def test_reboot_of_a_gl_desktop_leaves_nothing_behind(gl_weston):
    """Last of those on this machine."""
    guest, first = gl_weston.guest, gl_weston.first_objects
    vulkan_guest.start_cube(guest, GFXSTREAM, "gl")
    if gl_weston.door is Door.VHOST_USER:  # as above
        guest.check("killall -KILL vkcube weston")
        wait_until(lambda: objects(gl_weston)["mappings"] == first["mappings"], 10,
                   "the end of the mappings")
    guest.reset()
    guest.expect_agent(120)
    wait_until(lambda: objects(gl_weston) == first, 15, f"the objects of the first boot ({first})")
