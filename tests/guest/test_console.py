# SPDX-License-Identifier: Apache-2.0
"""The plain device, without a renderer, through a real kernel on every door."""

import base64
import subprocess
import time

import pytest

import pictures
from conftest import FULL_DOORS, door_id, driver_features
from lab import Door, wait_until

# QEMU's user interface owns the outputs of vhost-user-gpu; the back end cannot send config events.
on_full_doors = pytest.mark.parametrize("console", FULL_DOORS, indirect=True, ids=door_id)
on_vhost_user_gpu = pytest.mark.parametrize("console", [Door.VHOST_USER_GPU], indirect=True,
                                            ids=door_id)

SYSFS_UUID_BIT = 2  # VIRTIO_GPU_F_RESOURCE_UUID, counted in the device's sysfs `features`


def connector(index=1):
    return f"/sys/class/drm/card0-Virtual-{index}"


def test_features_are_those_of_the_door(console):
    features = driver_features(console.guest)
    full = console.door in FULL_DOORS
    assert features["edid"]
    assert not features["virgl"], "no renderer is registered"
    assert features["resource_blob"] == full
    assert features["host_visible"] == full
    assert not features.get("context_init", False)


def test_resource_uuid_is_negotiated(console):
    bits = console.guest.check("cat $(dirname $(readlink -f /sys/class/drm/card0))/../features "
                               "2>/dev/null || cat /sys/bus/virtio/devices/*/features").strip()
    assert bits[SYSFS_UUID_BIT] == "1", bits


def test_edid_is_valid(console):
    console.guest.check("modetest -M virtio_gpu -c > /dev/null")
    raw = base64.b64decode(console.guest.check(f"base64 {connector()}/edid"))
    assert len(raw) >= 128
    path = console.folder / "edid.bin"
    path.write_bytes(raw)
    verdict = subprocess.run(["edid-decode", "--check", str(path)], capture_output=True, text=True,
                             check=False)
    assert verdict.returncode == 0, verdict.stdout


def test_modetest_pattern_is_shown_exactly(console):
    listing = console.guest.check("modetest -M virtio_gpu -c")
    number = next(line.split()[0] for line in listing.splitlines()
                  if line[:1].isdigit() and "\tconnected" in line)
    console.blank()
    # modetest shows the pattern until its input ends. It says nothing before its end when its output
    # is a file, so the picture is what is waited for.
    console.guest.check(f"sleep 1000 | modetest -M virtio_gpu -s {number}:1280x800 -F tiles "
                        "> /tmp/modetest 2>&1 &")
    expected = pictures.tiles(1280, 800)
    last = []

    def equal():
        last[:] = [pictures.difference(pictures.load(console.screenshot()), expected)]
        return last[0] is None

    try:
        wait_until(equal, 20, "the pattern in the picture")
    except Exception as error:
        raise AssertionError(last[0]) from error
    finally:
        console.guest.check("killall -q sleep modetest; true")


def test_full_frame_is_shown_exactly(console):
    console.show("pattern 7")
    found = pictures.load(console.screenshot())
    console.blank()
    assert pictures.difference(found, pictures.pattern(7, 1280, 800)) is None


@pytest.mark.parametrize("rectangle", [(0, 0, 64, 64), (3, 5, 1, 1), (1217, 700, 63, 100),
                                       (0, 799, 1280, 1)], ids=str)
def test_damage_alone_changes(console, rectangle):
    x, y, width, height = rectangle
    console.show(f"damage 11 {x} {y} {width} {height}")
    found = pictures.load(console.screenshot())
    console.blank()
    expected = pictures.pattern(11, 1280, 800).copy()
    expected[y:y + height, x:x + width] = pictures.pattern(12, width, height, x, y)
    assert pictures.difference(found, expected) is None


@pytest.mark.parametrize("place", [(300, 200, 0, 0), (10, 10, 20, 12), (1275, 790, 4, 4)], ids=str)
def test_cursor_is_blended_where_the_guest_put_it(console, place):
    x, y, hot_x, hot_y = place
    console.show(f"cursor 5 {x} {y} {hot_x} {hot_y}")
    image, alpha = pictures.cursor()
    # Linux gives the position of the image's corner, not of the hot spot.
    expected = pictures.blend(pictures.pattern(5, 1280, 800), image, alpha, x - hot_x, y - hot_y)
    last = []

    def equal():
        last[:] = [pictures.difference(pictures.load(console.screenshot()), expected, tolerance=1)]
        return last[0] is None

    try:
        # The cursor has a queue of its own, so it may come after the frame.
        wait_until(equal, 10, "the cursor in the picture")
    except Exception as error:
        raise AssertionError(last[0]) from error
    finally:
        console.blank()


@on_vhost_user_gpu
def test_qemu_shows_what_the_guest_drew(console):
    """Through QEMU's display socket and out of QEMU's own screendump."""
    console.show("damage 21 100 50 300 200")
    expected = pictures.pattern(21, 1280, 800).copy()
    expected[50:250, 100:400] = pictures.pattern(22, 300, 200, 100, 50)
    path = console.folder / "screendump.png"
    last = []

    def equal():
        console.guest.screendump(path)
        last[:] = [pictures.difference(pictures.load(path), expected)]
        return last[0] is None

    try:
        wait_until(equal, 10, "the pattern in QEMU's picture")
    except Exception as error:
        raise AssertionError(last[0]) from error
    finally:
        console.blank()


def preferred_mode(machine, index=1):
    machine.guest.check("modetest -M virtio_gpu -c > /dev/null")
    modes = machine.guest.check(f"cat {connector(index)}/modes").splitlines()
    return modes[0] if modes else None


@on_full_doors
def test_resize_event_reaches_the_guest(console):
    try:
        console.device.control("resize", "0", "1600x900")
        wait_until(lambda: preferred_mode(console) == "1600x900", 15, "the new size")
        console.show("pattern 3")
        found = pictures.load(console.screenshot())
        assert pictures.difference(found, pictures.pattern(3, 1600, 900)) is None
    finally:
        console.blank()
        console.device.control("resize", "0", "1280x800")
        wait_until(lambda: preferred_mode(console) == "1280x800", 15, "the old size")


@on_full_doors
def test_second_output_is_unplugged_and_plugged(console):
    status = f"cat {connector(2)}/status"
    wait_until(lambda: console.guest.check(status).strip() == "connected", 10, "the second output")
    console.device.control("unplug", "1")
    wait_until(lambda: console.guest.check(status).strip() == "disconnected", 15, "the unplugging")
    console.device.control("plug", "1")
    wait_until(lambda: console.guest.check(status).strip() == "connected", 15, "the plugging")


def census(machine):
    """Objects, and what the process holds once our own connection to it is closed at its end."""
    objects = machine.info()["census"]
    counts = []

    def settled():
        counts.append(machine.device.census())
        time.sleep(0.1)
        return len(counts) >= 3 and counts[-1] == counts[-2] == counts[-3]

    wait_until(settled, 10, "a steady number of open files")
    return {"process": counts[-1], "device": objects}


def test_reboot_leaves_nothing_behind(console):
    """Last of the module: the guest is another one afterwards."""
    guest = console.guest
    guest.check("sync")
    guest.reset()
    guest.check("true")
    first = census(console)
    for seed in range(3):
        console.show(f"pattern {seed}")
    guest.reset()
    guest.check("true")
    second = census(console)
    assert second["process"] == first["process"]
    for key in ("resources", "contexts", "mappings", "pending_commands", "pending_fences",
                "host_bytes"):
        assert second["device"][key] == first["device"][key], (key, first, second)
    guest.stop()
    wait_until(lambda: console.device.census() == console.census_before, 10,
               f"the census at start ({console.census_before}) after the guest has gone")
