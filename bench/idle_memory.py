#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a Vulkan program that does nothing costs this host, beside what the Vulkan driver takes.

Some programs with an instance and a device each wait on one `swede device`: private memory of all our
processes, less that of a device alone, for each program. The driver's share is what the same
program takes natively, less the same program without a device. Private memory is Private_Clean and
Private_Dirty of smaps_rollup; as many programs run on both sides, so that the same is shared.

The exit status is 1 where it is more than 4 MB.
"""

import argparse
import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "vulkan"))
# pylint: disable=wrong-import-position
from lab_programs import Running, device_command, native_command, swede_command, wait_until

MOST = 4_000_000  # bytes
SETTLE_SECONDS = 1


def private_bytes(pids):
    time.sleep(SETTLE_SECONDS)
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        sizes = re.findall(r"^Private_(?:Clean|Dirty):\s*(\d+) kB$", text, re.M)
        total += 1024 * sum(map(int, sizes))
    return total


@contextlib.contextmanager
def idle_programs(commands, folder):
    with contextlib.ExitStack() as stack:
        programs = []
        for command in commands:
            programs.append(stack.enter_context(Running(command, folder)))
            programs[-1].wait_for_line()
        yield programs


def natively(count, devices, folder):
    """Private bytes of one of `count` programs on the driver itself."""
    with idle_programs([native_command("vk_idle", "--devices", devices)] * count,
                       folder) as programs:
        return private_bytes([program.process.pid for program in programs]) / count


def on_our_device(count, folder):
    """({"device": bytes, "renderer": bytes}, for each of `count` programs)"""
    socket = folder / "gpu"
    with Running(device_command(socket), folder) as device:
        device.program = ""  # all its children are renderers
        wait_until(socket.exists, "the device's socket")
        wait_until(lambda: not device.renderers(), "the end of the first renderer")
        # A device alone shares its files' pages with nobody; one with renderers does.
        with idle_programs([swede_command("vk_idle", options=["--socket", socket])], folder):
            before = private_bytes([device.process.pid])
            with idle_programs([swede_command("vk_idle", options=["--socket", socket])] * count,
                               folder):
                renderers = device.renderers()
                assert len(renderers) == count + 1, device.log()
                return {"device": (private_bytes([device.process.pid]) - before) / count,
                        "renderer": private_bytes(renderers) / len(renderers)}


def main():
    parser = argparse.ArgumentParser(prog="idle_memory",
                                     description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--programs", type=int, default=16)
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swede-idle-") as name:
        folder = pathlib.Path(name)
        ours = on_our_device(arguments.programs, folder)
        without, with_driver = (natively(arguments.programs, devices, folder)
                                for devices in (0, 1))
    driver = with_driver - without
    beside = sum(ours.values()) - driver
    print(f"for each of {arguments.programs} programs that do nothing, private memory:")
    for what, size in [*ours.items(), ("the driver's share", -driver), ("beside it", beside)]:
        print(f"{what:20} {size / 1e6:6.2f} MB")
    print(f"(at most {MOST / 1e6:.0f} MB beside the driver)")
    if arguments.json:
        arguments.json.write_text(json.dumps(
            {"programs": arguments.programs, "device_bytes": ours["device"],
             "renderer_bytes": ours["renderer"], "driver_bytes": driver,
             "beside_driver_bytes": beside}) + "\n")
    return 0 if beside <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
