# SPDX-License-Identifier: Apache-2.0
"""What a device costs that nobody uses. bench/idle.py prints the figures."""

import pathlib
import re
import time

from vfio_user_client import VERSION_1, Function
from virtio_gpu_driver import FEATURES, Gpu

from conftest import DeviceProcess, build_folder, wait_until

MAX_RESIDENT = 20_000_000  # bytes


def is_sanitized():
    """A sanitizer's runtime has a thread that wakes and memory of its own."""
    program = (build_folder() / "src" / "swede" / "swede").read_bytes()
    return b"__tsan_init" in program or b"__asan_init" in program


def context_switches(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += sum(map(int, re.findall(r"ctxt_switches:\s*(\d+)", (task / "status").read_text())))
    return total


def sleeps_through(pid, seconds):
    before = context_switches(pid)
    time.sleep(seconds)
    return context_switches(pid) == before


def resident(pid):
    """RssAnon and RssFile, in bytes."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * sum(map(int, re.findall(r"^Rss(?:Anon|File):\s*(\d+) kB", status, re.M)))


# These are figures of a build for users, so they are no tests of a sanitized one.
if not is_sanitized():
    def test_idle_device_never_wakes(tmp_path):
        device = DeviceProcess(tmp_path, "vfio-user",
                               ["--display", f"png:{tmp_path / 'out'}",
                                "--control-path", str(tmp_path / "c.sock")])
        try:
            device.wait_for_log("Listening")
            # Some switches of its start may still come; of an idle device none do.
            wait_until(lambda: sleeps_through(device.process.pid, 3), "3 s of sleep", timeout=60)
        finally:
            assert device.stop() == 0

    def test_device_of_an_idle_guest_never_wakes(tmp_path):
        device = DeviceProcess(tmp_path, "vfio-user",
                               ["--hostmem", "16M", "--display", f"png:{tmp_path / 'out'}"])
        try:
            with Function(device.socket_path) as function:
                gpu = Gpu(function.start(VERSION_1 | FEATURES))
                assert gpu.create_2d(1, 640, 480) == 0x1100
                assert gpu.set_scanout(0, 1, 0, 0, 640, 480) == 0x1100
                assert gpu.flush(1, 0, 0, 640, 480) == 0x1100
                wait_until((tmp_path / "out" / "scanout-0.png").exists, "the picture")
                wait_until(lambda: sleeps_through(device.process.pid, 3), "3 s of sleep",
                           timeout=60)
        finally:
            assert device.stop() == 0

    def test_idle_device_is_small(tmp_path):
        """At most 20 MB with no client and no renderer."""
        device = DeviceProcess(tmp_path, "vfio-user", ["--control-path", str(tmp_path / "c.sock")])
        try:
            device.wait_for_log("Listening")
            assert 0 < resident(device.process.pid) <= MAX_RESIDENT
        finally:
            assert device.stop() == 0
