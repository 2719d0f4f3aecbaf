# SPDX-License-Identifier: Apache-2.0
"""The device's process, for the protocol tests of all transports.

A test module says TRANSPORT (the option's value) and serves_next_client(device), and may say
DEVICE_ARGUMENTS and DEVICE_PROGRAM (below the build folder). It has one process for all its tests:
after each, the fixture `device` looks that the process lives, serves a new client, and holds as many
files and threads as before the first.
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SETTLE_SECONDS = 10
pytest.register_assert_rewrite("cross_domain_cases", "wayland_cases")


def build_folder():
    """The build that is tested: $SWEDE_BUILD in the repository, by default build."""
    return REPOSITORY / os.environ.get("SWEDE_BUILD", "build")


def wait_until(condition, what, timeout=SETTLE_SECONDS):
    """The first true value of condition(); fails with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout} s"
        time.sleep(0.01)


def pytest_collection_modifyitems(config, items):
    """A library that is instrumented needs a program that is; unit tests drive it (c_abi exports)."""
    options = build_folder() / "meson-info" / "intro-buildoptions.json"
    if not options.is_file():
        return
    sanitizers = next(option["value"] for option in json.loads(options.read_text())
                      if option["name"] == "b_sanitize")
    if sanitizers == "none":
        return
    library = [item for item in items if item.path.name.startswith("test_c_abi")]
    config.hook.pytest_deselected(items=library)
    items[:] = [item for item in items if item not in library]


class DeviceProcess:
    """`swede device`, listening at `socket_path`."""

    def __init__(self, folder, transport, arguments=(), environment=None, program=None):
        self.socket_path = folder / "device.sock"
        self.log_path = folder / "device.log"
        self._command = [str(build_folder() / (program or "src/swede/swede")), "device",
                         "--socket-path", str(self.socket_path), "--transport", transport,
                         *arguments]
        if "--gpu" not in arguments:  # what a VMM sees does not depend on this machine's GPUs
            self._command += ["--gpu", "none"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=dict(os.environ, **(environment or {})))
        wait_until(self._is_listening, "the start of the device")
        if transport == "local":  # it asks the renderers what they offer before it is ready
            self.wait_for_log("Listening at")
        self.census_at_start = self._settled_census()

    def _is_listening(self):
        assert self.is_alive(), f"the device ended at once: {self.log()}"
        # A connection would be a client, so look whether someone listens instead.
        sockets = pathlib.Path("/proc/net/unix").read_text(errors="replace")
        return re.search(rf" 00010000 .* {re.escape(str(self.socket_path))}$", sockets, re.M)

    def is_alive(self):
        return self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, pattern, start=0):
        """Waits for a log line that matches, behind the first `start` characters."""
        return wait_until(lambda: re.search(pattern, self.log()[start:]), f"log line /{pattern}/")

    def _root(self):
        return pathlib.Path("/proc") / str(self.process.pid)

    def files(self):
        """What the process has open: kinds and how many of each."""
        kinds = collections.Counter()
        for entry in (self._root() / "fd").iterdir():
            try:
                kinds[re.sub(r"\[\d+\]", "", os.readlink(entry))] += 1
            except FileNotFoundError:
                pass  # closed while we looked
        return kinds

    def threads(self):
        return len(os.listdir(self._root() / "task"))

    def mapped_files(self):
        """Lines of the memory map that name a memfd: guest memory and windows."""
        maps = (self._root() / "maps").read_text()
        return sum("/memfd:" in line for line in maps.splitlines())

    def census(self):
        return {"files": self.files(), "threads": self.threads(), "maps": self.mapped_files()}

    def _settled_census(self):
        """A thread that was joined is still listed for a moment."""
        seen = self.census()
        while True:
            time.sleep(0.1)
            before, seen = seen, self.census()
            if seen == before:
                return seen

    def settles(self):
        """Waits until nothing is left of a client."""
        try:
            wait_until(lambda: self.census() == self.census_at_start, "return to the start")
        except AssertionError:
            assert self.census() == self.census_at_start, self.log()[-2000:]

    def cpu_seconds(self):
        fields = (self._root() / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        if self.is_alive():
            self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(scope="module")
def device_process(request, tmp_path_factory):
    """One process for the module's tests; it has to end well when asked to."""
    process = DeviceProcess(tmp_path_factory.mktemp("device"), request.module.TRANSPORT,
                            getattr(request.module, "DEVICE_ARGUMENTS", ()),
                            program=getattr(request.module, "DEVICE_PROGRAM", None))
    yield process
    was_alive = process.is_alive()
    status = process.stop()
    assert was_alive, f"the device ended with status {status}: {process.log()[-4000:]}"
    assert status == 0, f"the device ended with status {status}: {process.log()[-4000:]}"


@pytest.fixture
def device(request, device_process):
    """The process, and the proof after the test that it is none the worse for it."""
    assert device_process.is_alive(), "an earlier test ended the device"
    yield device_process
    assert device_process.is_alive(), f"the device ended: {device_process.log()[-4000:]}"
    request.module.serves_next_client(device_process)
    assert device_process.is_alive(), f"the device ended: {device_process.log()[-4000:]}"
    device_process.settles()
