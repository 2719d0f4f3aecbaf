# SPDX-License-Identifier: Apache-2.0
"""wl_shm pools that are dma-bufs of a window's pages, as guests of vfio-user need them: real compositors
must show them. They run in a guest, whose kernel has /dev/udmabuf: Debian 13's weston, and sway of this
machine."""

import base64
import io
import shutil

import numpy
import pytest
from PIL import Image

import pictures
import vulkan_guest
from conftest import Machine
from guest_programs import with_all_libraries
from lab import Door, wait_until

WIDTH, HEIGHT, SEED = 300, 200, 11
AS_NOBODY = "/swede/host/run setpriv --reuid=65534 --regid=65534 --clear-groups"  # sway runs for no root
SWAY = """
xwayland disable
default_floating_border none
for_window [app_id=".*"] floating enable, move absolute position 100 50
output * resolution 640x480 position 0 0
"""


@pytest.fixture(scope="module")
def machine(guest_programs, tmp_path_factory):
    programs = with_all_libraries(map(shutil.which, ("sway", "grim", "setpriv")), tmp_path_factory.mktemp("host"))
    made = Machine(Door.VFIO_USER, tmp_path_factory.mktemp("pool"), guest_programs | programs, image="vulkan",
                   memory="1G")
    try:
        yield made.start()
    finally:
        made.stop()


def start_pool(guest, socket):
    guest.check(f"swede_pool {socket} {WIDTH} {HEIGHT} {SEED} > /tmp/pool 2>&1 & n=0; until grep -q SWEDE /tmp/pool; "
                "do n=$((n+1)); [ $n -gt 600 ] && break; sleep 0.05; done; cat /tmp/pool; grep -q ready=1 /tmp/pool")


def holds_the_window(picture):
    """The window is somewhere in it, pixel for pixel."""
    expected = pictures.pattern(SEED, WIDTH, HEIGHT)
    rows = numpy.argwhere((picture[:-HEIGHT + 1, :-WIDTH + 1] == expected[0, 0]).all(axis=2))
    return any(numpy.array_equal(picture[y:y + HEIGHT, x:x + WIDTH], expected) for y, x in rows)


def test_weston_shows_a_pool_of_udmabuf(machine):
    vulkan_guest.start_weston(machine.guest, "pixman")
    assert not holds_the_window(pictures.load(machine.screenshot()))
    start_pool(machine.guest, "$XDG_RUNTIME_DIR/wayland-swede")
    wait_until(lambda: holds_the_window(pictures.load(machine.screenshot())), 30, "the window on weston")
    machine.guest.check("killall swede_pool")


def test_sway_shows_a_pool_of_udmabuf(machine):
    guest = machine.guest
    guest.check("mkdir -p -m 700 /run/sway; cat > /run/sway/config <<'END'" + SWAY + "END\n"
                "chown -R 65534:65534 /run/sway")
    environment = "XDG_RUNTIME_DIR=/run/sway HOME=/run/sway"
    guest.check(f"{environment} WLR_BACKENDS=headless WLR_RENDERER=pixman WLR_LIBINPUT_NO_DEVICES=1 "
                f"setsid {AS_NOBODY} /swede/host/run sway -c /run/sway/config > /run/sway/log 2>&1 < /dev/null & "
                "n=0; until [ -S /run/sway/wayland-1 ]; do n=$((n+1)); [ $n -gt 600 ] && break; sleep 0.1; done; "
                "[ -S /run/sway/wayland-1 ] || { cat /run/sway/log; exit 1; }", timeout=90)

    def picture():
        shot = guest.check(f"{environment} WAYLAND_DISPLAY=wayland-1 /swede/host/run grim -t ppm - | base64", timeout=60)
        return numpy.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"))

    assert not holds_the_window(picture())
    start_pool(guest, "/run/sway/wayland-1")
    wait_until(lambda: holds_the_window(picture()), 60, "the window on sway")
