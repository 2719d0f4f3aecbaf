# SPDX-License-Identifier: Apache-2.0
"""A Wayland client without a VM on a real compositor: the guests' client, by the ioctls that the shim serves.
What the host's programs do with it is in tests/guest/test_wayland.py; the messages are in
tests/protocol/test_local_wayland.py."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy
import pytest

from conftest import GUEST_PROGRAMS, PATIENCE, SHIM, SWEDE, compile_program

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(REPOSITORY / "tests" / "protocol"), str(REPOSITORY / "tests" / "guest")]
# pylint: disable=wrong-import-position
import pictures
from sway import Sway

WIDTH, HEIGHT = 400, 300
MIB = 1 << 20
TEXT = "text/plain;charset=utf-8"
LIMIT = 30  # seconds until something shows on the desktop; only a failure takes so long


@pytest.fixture(scope="module")
def sway():
    made = Sway()
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The program, compiled as a guest has it."""
    return compile_program(GUEST_PROGRAMS / "swede_wayland.c", tmp_path_factory.mktemp("wayland") / "swede_wayland")


def wait_until(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


class Client:
    """The program on a device that reaches this compositor."""

    def __init__(self, program, compositor):
        self.command = [SWEDE, "run", "--driver", "none", "--shim", SHIM, "--wayland-socket-path", compositor.socket,
                        "--", program]

    def run(self, *words):
        return subprocess.run([*map(str, (*self.command, *words))], capture_output=True, timeout=PATIENCE,
                              check=False)

    def check(self, *words):
        answer = self.run(*words)
        assert answer.returncode == 0, answer
        return answer.stdout

    def start(self, *words, **more):
        return subprocess.Popen([*map(str, (*self.command, *words))], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                **more)


def stop(process):
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.fixture
def program(client, sway):  # pylint: disable=redefined-outer-name
    return Client(client, sway)


def test_round_trips(program):
    assert re.fullmatch(rb"SWEDE sync count=500 p50_us=[\d.]+ p99_us=[\d.]+\n", program.check("sync", 500))


def test_two_connections_of_one_program(program):
    assert program.check("twice", 100) == b"SWEDE ok=1\n"


def test_a_window_is_on_the_desktop_pixel_for_pixel(program, sway):
    process = program.start("show", WIDTH, HEIGHT, 5)
    assert process.stdout.readline() == b"SWEDE ready=1\n"
    expected = pictures.pattern(5, WIDTH, HEIGHT)

    def picture():
        return sway.picture()[50:50 + HEIGHT, 100:100 + WIDTH]

    wait_until(lambda: numpy.array_equal(picture(), expected), "the window on the desktop, pixel for pixel")
    stop(process)
    wait_until(lambda: not numpy.array_equal(picture(), expected), "the window's end on the desktop")


def test_frames_go_on(program):
    assert re.match(rb"SWEDE frames=60 per_second=", program.check("frames", 640, 480, 60))


def test_a_keymap_goes_both_ways(program):
    answer = program.check("keymap")
    assert re.fullmatch(rb'SWEDE keymap size=\d+ text="xkb_keymap" has_key=1\n', answer), answer


def test_a_keymap_cannot_be_written(program):
    """It is mapped for writing as well, as programs in guests do; a write ends the program."""
    answer = program.run("keymap", "write")
    assert answer.returncode == 128 + signal.SIGSEGV, answer


def content(size):
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("size", [11, 10 * MIB])
def test_what_the_desktop_copies_is_pasted(program, sway, size):
    with sway.popen("wl-copy", "--foreground", "-t", TEXT, stdin=subprocess.PIPE) as copy:
        copy.stdin.write(content(size))
        copy.stdin.close()
        assert program.check("paste") == content(size)
        assert f"bytes={size} ".encode() in program.check("paste-time")
        copy.kill()


@pytest.mark.parametrize("size", [11, 10 * MIB])
def test_what_is_copied_is_pasted_on_the_desktop(program, sway, size):
    process = program.start("copy", stdin=subprocess.PIPE)
    process.stdin.write(content(size))
    process.stdin.close()
    process.stdin = None
    assert process.stdout.readline() == b"SWEDE ready=1\n"
    for _ in range(2):
        assert sway.run("wl-paste", "--no-newline", "-t", TEXT) == content(size)
    stop(process)


def test_a_program_with_both_kinds_of_context(program, programs):
    """At once, in one process; the test renderer draws."""
    answer = subprocess.run([*map(str, program.command[:-1]), programs / "event_client", "both"], capture_output=True,
                            text=True, timeout=PATIENCE, check=False)
    assert (answer.returncode, answer.stdout) == (0, "ok\n"), answer


def test_programs_with_either_kind_of_context_side_by_side(program, programs):
    command = program.command[:-1]
    both = 'i=0; while [ $i -lt 5 ]; do "$0" sync 20 & "$1" & wait; i=$((i+1)); done'
    answer = subprocess.run([*map(str, command), "sh", "-c", both, program.command[-1], programs / "swede_blobs"],
                            capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert answer.returncode == 0, answer
    assert answer.stdout.count("ok=1") == 5 and answer.stdout.count("SWEDE sync count=20") == 5, answer


def test_the_compositor_of_the_environment(client, sway):
    answer = subprocess.run([SWEDE, "run", "--driver", "none", "--shim", SHIM, "--cross-domain", "--", client, "sync",
                             "5"], capture_output=True, text=True, timeout=PATIENCE, check=False,
                            env=dict(os.environ, XDG_RUNTIME_DIR=str(sway.folder), WAYLAND_DISPLAY=sway.socket.name))
    assert answer.returncode == 0 and "SWEDE sync count=5" in answer.stdout, answer


def test_without_the_option_there_is_no_compositor(client):
    answer = subprocess.run([SWEDE, "run", "--driver", "none", "--shim", SHIM, "--", client, "sync", "1"],
                            capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert answer.returncode == 1 and "context_init" in answer.stdout, answer


def test_a_program_hears_of_the_compositors_end(program, client, sway):
    process = program.start("show", 64, 64, 1)
    assert process.stdout.readline() == b"SWEDE ready=1\n"
    sway.stop()
    try:
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1 and b"the compositor ended the connection" in output
        answer = program.run("sync", 1)
        assert answer.returncode == 1 and b"ended the connection" in answer.stdout, "no connection is an end as well"
    finally:
        sway.start()
    assert Client(client, sway).check("sync", 10)
