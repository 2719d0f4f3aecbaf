# SPDX-License-Identifier: Apache-2.0
"""What a program sees of the GPU that the shim shows it."""

import os
import re
import subprocess

import pytest

from conftest import PATIENCE, SHIM, run

CASES = ["devices", "files", "buffers", "threads", "fences", "prime", "fork", "opens", "lost"]


@pytest.mark.parametrize("case", CASES)
def test_case(programs, case):
    answer = run(programs / "shim_client", case)
    assert (answer.returncode, answer.stdout) == (0, "ok\n"), answer


@pytest.mark.parametrize("case", ["events", "many", "nonblocking", "refused", "lost"])
def test_events_of_polled_rings(programs, case):
    answer = run(programs / "event_client", case)
    assert (answer.returncode, answer.stdout) == (0, "ok\n"), answer


@pytest.mark.parametrize("name", ["swede_features", "swede_blobs", "swede_fences"])
def test_program_of_the_guest_tests(programs, name):
    answer = run(programs / name)
    assert answer.returncode == 0 and "ok=1" in answer.stdout, answer


def test_forked_child_is_told_once_about_its_parents_handles(programs):
    answer = run(programs / "shim_client", "fork")
    assert len(re.findall("has none of its parent's handles", answer.stderr)) == 1, answer


def test_lost_gpu_is_told_of(programs):
    answer = run(programs / "shim_client", "lost")
    assert "swede-shim: The GPU is lost: " in answer.stderr, answer


def test_folder_as_coreutils_see_it():
    answer = run("ls", "-l", "/dev/dri")
    assert answer.returncode == 0 and re.search(r"^crw.* 226, 128 .* renderD128$", answer.stdout,
                                                re.M), answer
    answer = run("cat", "/sys/dev/char/226:128/device/uevent", "/proc/self/comm")
    assert "PCI_ID=1AF4:1050\n" in answer.stdout and answer.stdout.endswith("cat\n"), answer
    assert run("ls", "/dev/dri/renderD129").returncode != 0
    assert run("ls", "/dev/null").returncode == 0


def preloaded(command, **variables):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE,
                          check=False,
                          env=dict(os.environ, LD_PRELOAD=str(SHIM), **variables))


@pytest.mark.parametrize("socket, says", [
    ("/nowhere/gpu", 'No device answers at "/nowhere/gpu"'),
    ("", 'SWEDE_SOCKET is ""'),
    ("/" + "x" * 200, "is no path of a socket"),
])
def test_without_a_device_there_is_no_gpu(programs, socket, says):
    answer = preloaded([programs / "shim_client", "opens"], SWEDE_SOCKET=socket)
    assert answer.returncode == 1
    assert answer.stderr.count("swede-shim: ") == 1 and says in answer.stderr, answer
    # All else is as ever.
    assert preloaded(["cat", "/proc/self/comm"], SWEDE_SOCKET=socket).stdout == "cat\n"


def test_shim_shows_only_libcs_names():
    names = subprocess.run(["nm", "-D", "--defined-only", SHIM], capture_output=True, text=True,
                           check=True).stdout
    defined = {line.split()[2].split("@")[0] for line in names.splitlines()}
    assert {"open", "openat", "ioctl", "mmap", "opendir", "statx"} <= defined
    assert not [name for name in defined if name.startswith("_Z") or "swede" in name]
    needed = subprocess.run(["readelf", "-d", SHIM], capture_output=True, text=True,
                            check=True).stdout
    libraries = set(re.findall(r"NEEDED.*\[(.*)\]", needed))
    assert libraries <= {"libc.so.6", "ld-linux-x86-64.so.2"}
