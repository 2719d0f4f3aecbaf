# SPDX-License-Identifier: Apache-2.0
"""Wayland on the host's compositor and Vulkan on the host's driver in one guest: two renderers of one
device, one in its process and one in another, and a picture of the one that the other shows."""

import os
import re
import signal

import numpy
import pytest

import lab_programs
import pictures
import vulkan_guest
from conftest import VULKAN_PROGRAMS, Machine, driver_features
from lab import Door, wait_until
from test_renderer import renderer_processes
from test_wayland import objects, sway  # pylint: disable=unused-import
from vulkan_guest import GFXSTREAM

WIDTH, HEIGHT = 400, 300
EDGE = 256


@pytest.fixture(scope="module")
def machine(sway, guest_programs, tmp_path_factory):  # pylint: disable=redefined-outer-name
    programs = {f"/usr/bin/{name}": lab_programs.program(name) for name in [*VULKAN_PROGRAMS, "vk_share"]}
    made = Machine(Door.VHOST_USER, tmp_path_factory.mktemp("wayland-vulkan"), guest_programs | programs,
                   arguments=["--wayland-socket-path", str(sway.socket)],
                   environment=vulkan_guest.lavapipe_environment(), image="vulkan", hostmem="1G",
                   memory="1G", gpu=None)
    try:
        made.start()
        made.guest.expect_agent()  # only now its objects are those of an idle guest
        yield made
    finally:
        made.stop()


def start(machine, command):
    """Starts a program that shows a window; its process id is in /tmp/window.pid."""
    machine.guest.check(f"{command} > /tmp/window 2>&1 & echo $! > /tmp/window.pid; n=0; "
                        "until grep -q SWEDE /tmp/window; do n=$((n+1)); [ $n -gt 1200 ] && break; "
                        "sleep 0.05; done; cat /tmp/window; grep -q ready=1 /tmp/window", 120)


def picture_of_window(sway, width, height):  # pylint: disable=redefined-outer-name
    return sway.picture()[50:50 + height, 100:100 + width]


def test_both_capsets_are_there(machine):
    features = driver_features(machine.guest)
    for name in ("virgl", "resource_blob", "host_visible", "context_init"):
        assert features[name], features
    capsets = machine.guest.check("dmesg | grep 'cap set'")
    assert re.findall(r"cap set \d: id (\d+)", capsets) == ["3", "5"]


def test_a_window_stays_while_vulkan_computes(machine, sway, tmp_path):
    before = objects(machine)
    start(machine, f"swede_wayland show {WIDTH} {HEIGHT} 5")
    expected = pictures.pattern(5, WIDTH, HEIGHT)
    wait_until(lambda: numpy.array_equal(picture_of_window(sway, WIDTH, HEIGHT), expected), 30,
               "the window on the desktop, pixel for pixel")
    native = lab_programs.run(lab_programs.native_command("vk_compute", "--words", 100003, "--out",
                                                          tmp_path / "native"))
    answer = machine.guest.check(vulkan_guest.command(GFXSTREAM, "vk_compute --words 100003"), 120)
    assert lab_programs.Answer(0, answer, "").line() == native.line()
    assert numpy.array_equal(picture_of_window(sway, WIDTH, HEIGHT), expected)
    assert "SWEDE sync count=50 " in machine.guest.check("swede_wayland sync 50", timeout=60)
    machine.guest.check("kill $(cat /tmp/window.pid)")
    wait_until(lambda: objects(machine) == before, 20, f"the objects of before ({before})")


def test_what_vulkan_has_drawn_is_a_window_on_the_desktop(machine, sway):
    """Its memory is the renderer process's, the compositor maps it: nobody copies."""
    before = objects(machine)
    start(machine, vulkan_guest.command(
        GFXSTREAM, f"vk_share --size {EDGE} --show-with /usr/bin/swede_wayland"))
    expected = pictures.vk_share(EDGE)
    last = []

    def shown():
        last[:] = [pictures.difference(picture_of_window(sway, EDGE, EDGE), expected)]
        return last[0] is None

    try:
        wait_until(shown, 30, "Vulkan's picture on the desktop, pixel for pixel")
    except Exception as error:
        raise AssertionError(last[0]) from error
    machine.guest.check("killall swede_wayland vk_share; true")
    wait_until(lambda: objects(machine) == before, 20, f"the objects of before ({before})")


def test_a_renderer_that_is_killed_leaves_the_windows(machine, sway):
    """It is another process; the connection to the compositor is the device's."""
    start(machine, f"swede_wayland show {WIDTH} {HEIGHT} 6")
    machine.guest.check(vulkan_guest.command(
        GFXSTREAM, "vk_threads --threads 2 --rounds 100000 > /tmp/threads 2>&1 &"))
    [victim] = wait_until(lambda: renderer_processes(machine), 20, "a renderer process")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in renderer_processes(machine), 20, "the renderer's end")
    assert "SWEDE sync count=50 " in machine.guest.check("swede_wayland sync 50", timeout=60)
    assert numpy.array_equal(picture_of_window(sway, WIDTH, HEIGHT), pictures.pattern(6, WIDTH, HEIGHT))
    machine.guest.check("kill $(cat /tmp/window.pid); killall -q -KILL vk_threads; true")
    machine.guest.check(vulkan_guest.command(GFXSTREAM, "vk_compute --words 1000"), 120)
