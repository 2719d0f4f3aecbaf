# SPDX-License-Identifier: Apache-2.0
"""What is left of programs, and what programs notice of a renderer that dies."""

import os
import pathlib
import signal
import time

import pytest

from lab_programs import Running, device_command, run, swede_command, wait_until

END_SECONDS = 30


@pytest.fixture(name="device")
def _device(tmp_path):
    """`swede device --transport local`, ready for programs."""
    socket = tmp_path / "gpu"
    with Running(device_command(socket), tmp_path) as device:
        device.program = ""  # all its children are renderers
        wait_until(socket.exists, "the device's socket")
        device.socket = socket
        yield device
        assert device.process.poll() is None, f"the device ended: {device.log()[-4000:]}"


def census(pid):
    """Files, threads and resident bytes of a process."""
    root = pathlib.Path("/proc") / str(pid)
    pages = int((root / "statm").read_text().split()[1])
    return {"files": len(os.listdir(root / "fd")), "threads": len(os.listdir(root / "task")),
            "bytes": pages * os.sysconf("SC_PAGESIZE")}


def counts(pid):
    found = census(pid)
    return found["files"], found["threads"]


def start_busy(device, tmp_path):
    busy = Running(swede_command("vk_busy", "--megabytes", 1, options=["--socket", device.socket]),
                   tmp_path)
    assert busy.wait_for_line()["running"], busy.log()
    return busy


def test_program_ends_with_its_renderer(started):
    busy = started("vk_busy", "--megabytes", 1)
    assert busy.wait_for_line()["running"]
    renderers = busy.renderers()
    assert renderers, busy.descendants()
    for pid in renderers:
        os.kill(pid, signal.SIGKILL)
    status = busy.wait(END_SECONDS)
    assert status != 0, "a program whose GPU is gone has to fail"


def test_other_programs_go_on_when_a_renderer_dies(device, tmp_path):
    with start_busy(device, tmp_path) as first:
        before = set(device.renderers())
        with start_busy(device, tmp_path) as second:
            own = set(device.renderers()) - before
            assert own, "each connection has a renderer of its own"
            for pid in own:
                os.kill(pid, signal.SIGKILL)
            assert second.wait(END_SECONDS) != 0
        assert first.process.poll() is None, first.log()
        run(swede_command("vk_compute", options=["--socket", device.socket])).line()
        assert first.process.poll() is None, first.log()


def test_renderer_ends_with_its_program(device, tmp_path):
    run(swede_command("vk_compute", options=["--socket", device.socket])).line()
    wait_until(lambda: not device.renderers(), "the end of the renderer")
    time.sleep(1)  # the thread that waited for it goes, too
    before = counts(device.process.pid)
    with start_busy(device, tmp_path) as busy:
        assert device.renderers()
        busy.process.kill()  # with a socket `swede run` has become the program
        busy.process.wait()
    wait_until(lambda: not device.renderers(), "the end of the renderer")
    wait_until(lambda: counts(device.process.pid) == before, "the return of files and threads")


def cycles_in_one_program(swede, count):
    answer = swede("vk_cycles", "--count", count, "--warm", 5, seconds=100 + 2 * count).line()
    assert (answer["more_files"], answer["more_threads"]) == (0, 0)
    return answer


def test_cycles_leave_nothing(swede):
    cycles_in_one_program(swede, 10)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_thousand_cycles_leave_nothing(swede):
    answer = cycles_in_one_program(swede, 1000)
    # The driver of the program itself keeps a little; 4 KiB a cycle would be an object forgotten.
    assert answer["more_resident_bytes"] < 4 << 20, answer


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_thousand_programs_leave_nothing_in_the_device(device):
    command = swede_command("vk_compute", "--words", 64, options=["--socket", device.socket])
    for _ in range(20):
        run(command).line()
    wait_until(lambda: not device.renderers(), "the end of the renderer")
    before = census(device.process.pid)
    for _ in range(1000):
        run(command).line()
    wait_until(lambda: not device.renderers(), "the end of the renderer")
    wait_until(lambda: counts(device.process.pid) == (before["files"], before["threads"]),
               "the return of files and threads")
    assert census(device.process.pid)["bytes"] - before["bytes"] < 4 << 20
