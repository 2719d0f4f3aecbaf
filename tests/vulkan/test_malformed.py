# SPDX-License-Identifier: Apache-2.0
"""A program that breaks the stream of its driver to the renderer loses its own GPU, and no other
program does."""

import os

import pytest

from lab_programs import Running, device_command, native_command, run, swede_command, wait_until

VK_ERROR_DEVICE_LOST = -4
# It takes some milliseconds. Whoever waits for a limit of ours (60 s for a reply, 100 s for the
# program here) is not ended by the loss.
END_SECONDS = 20


@pytest.fixture(name="device")
def _device(tmp_path):
    """A device with a program that works all the time, and has to be right to its end."""
    socket = tmp_path / "gpu"
    with Running(device_command(socket), tmp_path) as device:
        device.program = ""  # all its children are renderers
        wait_until(socket.exists, "the device's socket")
        device.options = ["--socket", socket]
        with Running(swede_command("vk_busy", "--megabytes", 1, options=device.options),
                     tmp_path) as other:
            assert other.wait_for_line()["running"], other.log()
            device.others = set(device.renderers())
            assert len(device.others) == 1
            yield device
            other.process.terminate()  # it does one round more
            assert other.wait_for_line()["rounds"] > 1, other.log()
            assert other.wait(END_SECONDS) == 0, other.log()
        assert device.process.poll() is None, f"the device ended: {device.log()[-4000:]}"


def new_program_works(device):
    wait_until(lambda: set(device.renderers()) == device.others, "the end of the renderer")
    words = ("vk_compute", "--words", 10_007)
    assert run(swede_command(*words, options=device.options)).line() == \
        run(native_command(*words)).line()


@pytest.mark.parametrize("how", ["size", "place", "opcode", "truncated", "chain", "handle"])
def test_broken_stream_ends_all_that_its_program_waits_for(device, how):
    answer = run(swede_command("vk_malformed", "--how", how, options=device.options),
                 seconds=END_SECONDS).line()
    print(f"{how}: all had ended {answer['milliseconds']:.0f} ms after the stream was broken")
    # The thread whose ring was broken, another one, and the fence of what was submitted.
    assert (answer["here"], answer["there"]) == (VK_ERROR_DEVICE_LOST, VK_ERROR_DEVICE_LOST)
    assert answer["sync_file"]
    assert "is lost: " in device.log() and "The GPU is lost: " not in device.log()
    new_program_works(device)


def test_number_that_is_not_reached_holds_its_program_only(device, tmp_path):
    """The stream is sound as far as it goes, so the program waits for itself; it can be ended."""
    with Running(swede_command("vk_malformed", "--how", "number", options=device.options),
                 tmp_path) as broken:
        assert broken.wait_for_line()["broken"], broken.log()
        [renderer] = set(device.renderers()) - device.others
        run(swede_command("vk_compute", options=device.options)).line()
        assert broken.process.poll() is None and os.path.exists(f"/proc/{renderer}")
        broken.process.kill()
        broken.process.wait()
    new_program_works(device)
