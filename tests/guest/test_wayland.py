# SPDX-License-Identifier: Apache-2.0
"""Wayland clients in a guest on the host's compositor, a real one: what the guest's kernel adds to
tests/protocol/wayland_cases.py."""

import pathlib
import re
import subprocess
import sys
import time

import numpy
import pytest

import pictures
from conftest import Machine
from lab import Door, wait_until

sys.path.append(str(pathlib.Path(__file__).parents[1] / "protocol"))
# pylint: disable=wrong-import-position
from sway import Sway

WIDTH, HEIGHT = 400, 300


@pytest.fixture(scope="module")
def sway():
    made = Sway()
    yield made
    made.close()


@pytest.fixture(scope="module")
def machine(sway, guest_programs, tmp_path_factory):  # pylint: disable=redefined-outer-name
    made = Machine(Door.VHOST_USER, tmp_path_factory.mktemp("wayland"), guest_programs,
                   arguments=["--wayland-socket-path", str(sway.socket)])
    try:
        yield made.start()
    finally:
        made.stop()


def objects(machine):  # pylint: disable=redefined-outer-name
    census = machine.info()["census"]
    return {key: census[key] for key in ("resources", "contexts", "mappings", "pending_fences", "host_bytes")}


def test_a_round_trip(machine):
    output = machine.guest.check("swede_wayland sync 200", timeout=60)
    assert re.search(r"SWEDE sync count=200 p50_us=", output)


def test_two_connections_of_one_program(machine):
    assert "SWEDE ok=1" in machine.guest.check("swede_wayland twice 20", timeout=60)


def test_a_keymap_goes_both_ways(machine):
    assert 'text="xkb_keymap" has_key=1' in machine.guest.check("swede_wayland keymap", timeout=60)


def test_a_window_is_on_the_desktop_pixel_for_pixel(machine, sway):
    before = objects(machine)
    machine.guest.check(f"swede_wayland show {WIDTH} {HEIGHT} 5 > /tmp/window 2>&1 & echo $! > /tmp/window.pid; "
                        "n=0; until grep -q SWEDE /tmp/window; do n=$((n+1)); [ $n -gt 600 ] && break; "
                        "sleep 0.05; done; cat /tmp/window; grep -q ready=1 /tmp/window")
    expected = pictures.pattern(5, WIDTH, HEIGHT)

    def shown():
        part = sway.picture()[50:50 + HEIGHT, 100:100 + WIDTH]
        return numpy.array_equal(part, expected)

    wait_until(shown, 30, "the window on the desktop, pixel for pixel")
    # The console is another thing, and goes on.
    machine.show("pattern 7")
    assert pictures.difference(pictures.load(machine.screenshot()), pictures.pattern(7, 1280, 800)) is None
    machine.blank()
    machine.guest.check("kill $(cat /tmp/window.pid)")
    wait_until(lambda: objects(machine) == before, 20, f"the objects of before ({before})")
    wait_until(lambda: not shown(), 20, "the window's end on the desktop")


def test_frames_go_on(machine):
    output = machine.guest.check("swede_wayland frames 640 480 60", timeout=120)
    assert "SWEDE frames=60 per_second=" in output


def test_frames_go_on_after_a_pause(machine):
    """While a guest is paused QEMU has stopped all rings, and the compositor's messages wait."""
    machine.guest.check("swede_wayland frames 640 480 200 > /tmp/frames 2>&1 &")
    machine.guest.check("swede_wayland sync 1", timeout=60)
    assert "SWEDE" not in machine.guest.run("cat /tmp/frames")[1], "it ended before the pause"
    for _ in range(3):
        machine.guest.qmp.command("stop")
        assert machine.guest.qmp.command("query-status")["status"] == "paused"
        time.sleep(0.2)  # the frame that was drawn last is shown, and the next one asked for
        machine.guest.qmp.command("cont")
    wait_until(lambda: "SWEDE frames=200 " in machine.guest.run("cat /tmp/frames")[1], 120, "the last frame")


@pytest.mark.parametrize("size", [11, 2 << 20])
def test_what_the_desktop_copies_is_pasted_in_the_guest(machine, sway, size):
    text = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with sway.popen("wl-copy", "--foreground", "-t", "text/plain;charset=utf-8", stdin=subprocess.PIPE) as copy:
        copy.stdin.write(text)
        copy.stdin.close()
        machine.guest.check("swede_wayland paste > /tmp/paste", timeout=120)
        copy.kill()
    machine.guest.check(f"[ $(wc -c < /tmp/paste) = {size} ]")
    expected = subprocess.run(["md5sum"], input=text, stdout=subprocess.PIPE, check=True).stdout.split()[0].decode()
    assert expected in machine.guest.check("md5sum /tmp/paste")


def test_what_the_guest_copies_is_pasted_on_the_desktop(machine, sway):
    machine.guest.check("seq 100000 | swede_wayland copy > /tmp/copy 2>&1 & echo $! > /tmp/copy.pid; n=0; "
                        "until grep -q SWEDE /tmp/copy; do n=$((n+1)); [ $n -gt 600 ] && break; sleep 0.05; done; "
                        "grep -q ready=1 /tmp/copy")
    pasted = sway.run("wl-paste", "--no-newline", "-t", "text/plain;charset=utf-8")
    assert pasted == "".join(f"{number}\n" for number in range(1, 100001)).encode()
    machine.guest.check("kill $(cat /tmp/copy.pid)")


def test_a_program_hears_of_the_compositors_end(machine, sway):
    machine.guest.check("swede_wayland show 64 64 1 > /tmp/window 2>&1 & echo $! > /tmp/window.pid; n=0; "
                        "until grep -q SWEDE /tmp/window; do n=$((n+1)); [ $n -gt 600 ] && break; sleep 0.05; done; "
                        "grep -q ready=1 /tmp/window")
    sway.stop()
    wait_until(lambda: "ended the connection" in machine.guest.run("cat /tmp/window")[1], 20, "the program's end")
    status, output = machine.guest.run("swede_wayland sync 1")
    assert status != 0 and "ended the connection" in output, "no connection is an end as well"
    sway.start()
    machine.guest.check("swede_wayland sync 10", timeout=60)
