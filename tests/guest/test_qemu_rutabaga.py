# SPDX-License-Identifier: Apache-2.0
"""QEMU's own device virtio-gpu-rutabaga on our C library: the console, Wayland on a real compositor, and
Vulkan, in one guest that is rebooted half-way. SWEDE_QEMU_RUTABAGA names the QEMU (README.md)."""

import base64
import hashlib
import pathlib
import re
import subprocess
import time

import numpy
import pytest

import lab_programs
import pictures
import vulkan_guest
from conftest import QEMU_RUTABAGA, VULKAN_PROGRAMS, Screen, driver_features
from guest_programs import build_preloads
from lab import Guest, build_folder, census_of, wait_until
from test_wayland import sway  # pylint: disable=unused-import
from test_wayland_vulkan import EDGE, HEIGHT, WIDTH, picture_of_window, start
from vulkan_guest import GFXSTREAM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VK_ERROR_DEVICE_LOST = -4
LIBRARY = "src/transports/c_abi/librutabaga_gfx_ffi.so.0"


class RutabagaDoor:
    """QEMU hosts the GPU itself."""

    value = "virtio-gpu-rutabaga"

    def arguments(self, wayland_socket):
        return ["-device", "virtio-gpu-rutabaga-pci,id=gpu0,gfxstream-vulkan=on,cross-domain=on,"
                f"hostmem=1G,wsi=surfaceless,wayland-socket-path={wayland_socket}"]


class RutabagaMachine(Screen):
    """A QEMU that has loaded the library of the build, and its guest."""

    def __init__(self, folder, programs, wayland_socket, image="vulkan"):
        self.folder = folder
        self.library = (build_folder() / LIBRARY).resolve()
        environment = vulkan_guest.lavapipe_environment()
        environment["LD_LIBRARY_PATH"] = f"{self.library.parent}:{environment['LD_LIBRARY_PATH']}"
        self.guest = Guest(RutabagaDoor(), wayland_socket, folder, agent=True, image=image,
                           files=programs, memory="1G", qemu=QEMU_RUTABAGA, environment=environment)
        self._pictures = 0

    def screenshot(self):
        self._pictures += 1
        path = self.folder / f"shot-{self._pictures}.png"
        self.guest.screendump(path)
        return path

    def shows(self, expected):
        """Waits for a picture, pixel for pixel. QEMU draws when it likes."""
        last = []

        def equal():
            last[:] = [pictures.difference(pictures.load(self.screenshot()), expected)]
            return last[0] is None

        try:
            wait_until(equal, 30, "the picture in QEMU's screendump")
        except Exception as error:
            raise AssertionError(last[0]) from error


@pytest.fixture(scope="module")
def machine(sway, guest_programs, tmp_path_factory):  # pylint: disable=redefined-outer-name
    vulkan = {f"/usr/bin/{name}": lab_programs.program(name) for name in [*VULKAN_PROGRAMS, "vk_busy", "vk_malformed", "vk_share"]}
    made = RutabagaMachine(tmp_path_factory.mktemp("rutabaga"), guest_programs | vulkan, sway.socket)
    try:
        made.guest.start()
        yield made
    finally:
        made.guest.stop()


@pytest.fixture(scope="module", params=["first boot", "after a reset"])
def boot(request, machine):  # pylint: disable=redefined-outer-name
    """The machine; for the second round of the tests it is rebooted."""
    if request.param == "after a reset":
        # Contexts, mapped blobs and a fence that is out: QEMU takes none of them down.
        machine.guest.check("swede_wayland show 64 64 1 > /tmp/window 2>&1 &")
        machine.guest.check(vulkan_guest.command(GFXSTREAM, "vk_threads --threads 4 --rounds 1000")
                            + " > /tmp/threads 2>&1 &")
        machine.guest.check("n=0; until grep -q ready=1 /tmp/window; do n=$((n+1)); "
                            "[ $n -gt 600 ] && exit 1; sleep 0.05; done")
        machine.guest.reset()
    machine.guest.check("true", timeout=180)
    return machine


def test_capsets_and_features(boot):
    maps = pathlib.Path(f"/proc/{boot.guest.process.pid}/maps").read_text()
    assert str(boot.library) in maps, "QEMU has loaded another library"
    features = driver_features(boot.guest)
    for name in ("virgl", "edid", "resource_blob", "host_visible", "context_init"):
        assert features[name], features
    capsets = boot.guest.check("dmesg | grep 'cap set'")
    assert "cap set 0: id 3" in capsets and "cap set 1: id 5" in capsets


def test_the_console_is_in_qemus_picture(boot):
    boot.show("pattern 7")
    boot.shows(pictures.pattern(7, 1280, 800))
    boot.show("damage 11 1217 700 63 100")
    expected = pictures.pattern(11, 1280, 800).copy()
    expected[700:800, 1217:1280] = pictures.pattern(12, 63, 100, 1217, 700)
    boot.shows(expected)
    boot.blank()


def test_a_window_is_on_the_desktop_pixel_for_pixel(boot, sway):
    assert "SWEDE sync count=200 " in boot.guest.check("swede_wayland sync 200", timeout=60)
    start(boot, f"swede_wayland show {WIDTH} {HEIGHT} 5")
    expected = pictures.pattern(5, WIDTH, HEIGHT)

    def shown():
        return numpy.array_equal(picture_of_window(sway, WIDTH, HEIGHT), expected)

    wait_until(shown, 30, "the window on the desktop, pixel for pixel")
    # A second context, of the other renderer, beside the window's.
    compute = boot.guest.check(vulkan_guest.command(GFXSTREAM, "vk_compute --words 1000"), 120)
    assert lab_programs.Answer(0, compute, "").line()
    assert shown()
    boot.guest.check("kill $(cat /tmp/window.pid)")
    wait_until(lambda: not shown(), 20, "the window's end on the desktop")


def test_what_vulkan_has_drawn_is_a_window_on_the_desktop(boot, sway):
    start(boot, vulkan_guest.command(
        GFXSTREAM, f"vk_share --size {EDGE} --show-with /usr/bin/swede_wayland"))
    expected = pictures.vk_share(EDGE)

    def shown():
        return numpy.array_equal(picture_of_window(sway, EDGE, EDGE), expected)

    wait_until(shown, 30, "Vulkan's picture on the desktop, pixel for pixel")
    boot.guest.check("killall swede_wayland vk_share; true")
    wait_until(lambda: not shown(), 20, "the window's end on the desktop")


def test_what_the_desktop_copies_is_pasted_in_the_guest(boot, sway):
    text = b"0123456789abcdef" * (1 << 14)
    with sway.popen("wl-copy", "--foreground", "-t", "text/plain;charset=utf-8",
                    stdin=subprocess.PIPE) as copy:
        copy.stdin.write(text)
        copy.stdin.close()
        boot.guest.check("swede_wayland paste > /tmp/paste", timeout=120)
        copy.kill()
    assert hashlib.md5(text).hexdigest() in boot.guest.check("md5sum /tmp/paste")


def test_vulkaninfo_names_a_device_of_this_machine(boot):
    found = vulkan_guest.devices(boot.guest, GFXSTREAM)
    assert len(found) == 1 and "llvmpipe" in found[0].name, found


@pytest.mark.parametrize("command", ["vk_compute --words 100003", "vk_triangle --size 250"])
def test_results_are_those_of_this_machines_driver(boot, tmp_path, command):
    name, *arguments = command.split()
    native = lab_programs.run(lab_programs.native_command(name, *arguments, "--out",
                                                          tmp_path / "native"))
    answer = boot.guest.check(vulkan_guest.command(GFXSTREAM, f"{command} --out /tmp/result"), 120)
    assert lab_programs.Answer(0, answer, "").line() == native.line()
    result = base64.b64decode(boot.guest.check("base64 /tmp/result", 120))
    assert result == (tmp_path / "native").read_bytes()


def test_threads_have_rings_of_their_own(boot):
    answer = boot.guest.check(
        vulkan_guest.command(GFXSTREAM, "vk_threads --threads 4 --rounds 3"), 180)
    assert lab_programs.Answer(0, answer, "").line()["threads"] == 4


def test_full_window_fails_a_map_and_the_program_works_on(boot):
    answer = boot.guest.check(vulkan_guest.command(
        GFXSTREAM, "vk_memory --fresh-megabytes 0 --chunk-megabytes 64 --map 1"
                   " --most-megabytes 4096"), 180)
    assert lab_programs.Answer(0, answer, "").line()["end"] == "it cannot be mapped"
    boot.guest.check(vulkan_guest.command(GFXSTREAM, "vk_compute --words 1000"), 120)


@pytest.fixture
def busy(boot):
    """A program that works all the time, and has to be right to its end."""
    boot.guest.check(vulkan_guest.command(GFXSTREAM, "vk_busy --megabytes 1 > /tmp/busy 2>&1 &"))
    boot.guest.check("n=0; until grep -q running /tmp/busy; do n=$((n+1)); [ $n -gt 600 ] && exit 1; "
                     "sleep 0.05; done", 120)
    yield
    boot.guest.check("killall -TERM vk_busy; while pidof vk_busy > /dev/null; do sleep 0.1; done", 120)
    rounds = re.search(r'"rounds":(\d+)', boot.guest.check("cat /tmp/busy"))
    assert rounds and int(rounds[1]) > 1, boot.guest.check("cat /tmp/busy")


@pytest.mark.parametrize("how", ["size", "place", "opcode", "truncated", "chain", "handle"])
def test_a_broken_stream_costs_its_program_only(boot, busy, how):  # pylint: disable=unused-argument
    answer = boot.guest.check(vulkan_guest.command(GFXSTREAM, f"vk_malformed --how {how}"), 120)
    line = lab_programs.Answer(0, answer, "").line()
    assert (line["here"], line["there"]) == (VK_ERROR_DEVICE_LOST, VK_ERROR_DEVICE_LOST)
    assert line["sync_file"]


def test_programs_that_are_killed_at_work_leave_nothing(boot, busy):  # pylint: disable=unused-argument
    before = census_of(boot.guest.process)
    for _ in range(5):
        boot.guest.check(vulkan_guest.command(
            GFXSTREAM, "vk_threads --threads 2 --rounds 100000 > /tmp/threads 2>&1 &"))
        wait_until(lambda: census_of(boot.guest.process)["threads"] > before["threads"], 60,
                   "the threads of the program's rings")
        boot.guest.check("killall -KILL vk_threads; while pidof vk_threads > /dev/null; do sleep 0.1; "
                         "done")
    wait_until(lambda: all(census_of(boot.guest.process)[key] <= before[key] for key in before), 30,
               f"no more than before ({before})")


def test_a_cube_is_in_qemus_picture(boot):
    vulkan_guest.start_weston(boot.guest, "pixman")
    vulkan_guest.start_cube(boot.guest, GFXSTREAM)
    vulkan_guest.hold_cube(boot.guest)
    vulkan_guest.check_cube(
        vulkan_guest.steady_picture(lambda: pictures.load(boot.screenshot())))
    vulkan_guest.stop_cube(boot.guest)
    boot.guest.check("killall weston; while pidof weston > /dev/null; do sleep 0.1; done")


def test_programs_that_end_leave_nothing_in_qemu(boot):
    """Also ones that are killed."""
    programs = ["swede_wayland sync 5",
                vulkan_guest.command(GFXSTREAM, "vk_compute --words 1000") + " > /dev/null"]

    def round_of_all():
        for program in programs:
            boot.guest.check(program, 120)
        boot.guest.check("swede_wayland show 64 64 1 > /tmp/window 2>&1 & n=0; until grep -q ready=1 "
                         "/tmp/window; do n=$((n+1)); [ $n -gt 600 ] && exit 1; sleep 0.05; done; "
                         "killall -KILL swede_wayland")

    round_of_all()
    before = {}

    def is_steady():
        last, now = dict(before), census_of(boot.guest.process)
        before.update(now)
        time.sleep(0.5)
        return last == now

    wait_until(is_steady, 30, "a steady number of files and threads")
    for _ in range(3):
        round_of_all()
    wait_until(lambda: census_of(boot.guest.process) == before, 20,
               f"the files and threads of before ({before})")


def test_weston_with_gl_is_in_qemus_picture(sway, tmp_path):
    """The scanout is a resource of the renderer then, and the cube comes to weston as a dma-buf."""
    machine = RutabagaMachine(tmp_path, build_preloads(tmp_path), sway.socket, "vulkan-gl")
    try:
        machine.guest.start()
        vulkan_guest.start_weston(machine.guest, "gl")
        assert "llvmpipe" in vulkan_guest.gl_renderer(machine.guest)
        vulkan_guest.start_cube(machine.guest, GFXSTREAM, "gl")
        assert vulkan_guest.presentation(machine.guest) == vulkan_guest.HANDED_OVER
        vulkan_guest.hold_cube(machine.guest)
        vulkan_guest.check_cube(
            vulkan_guest.steady_picture(lambda: pictures.load(machine.screenshot())))
    finally:
        machine.guest.stop()
