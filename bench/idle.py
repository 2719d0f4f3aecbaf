#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an idle device costs: context switches of its threads over half a minute, and its memory.

    bench/idle.py                a device without a client
    bench/idle.py --guest DOOR   a device with a guest that does nothing
    bench/idle.py --pid N        a device that runs

Budgets: no context switch; with no client and no renderer at most 20 MB of RssAnon and RssFile.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "guest"))
# pylint: disable=wrong-import-position
from lab import Device, Door, Guest, swede_program

MAX_RESIDENT = 20_000_000  # bytes
START_SECONDS = 10


def switches(pid):
    """{thread: (its name, voluntary, involuntary)}"""
    threads = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        name = re.search(r"^Name:\s*(.*)$", status, re.M)[1]
        counts = map(int, re.findall(r"ctxt_switches:\s*(\d+)", status))
        threads[task.name] = (name, *counts)
    return threads


def memory(pid):
    """{part: bytes}"""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: 1024 * int(size)
            for name, size in re.findall(r"^(Rss\w+):\s*(\d+) kB", status, re.M)}


def measure(pid, seconds):
    """Prints the figures and returns them."""
    before = switches(pid)
    time.sleep(seconds)
    after = switches(pid)
    total = 0
    for thread, (name, voluntary, involuntary) in sorted(after.items()):
        _, voluntary_before, involuntary_before = before.get(thread, (name, 0, 0))
        count = voluntary - voluntary_before + involuntary - involuntary_before
        total += count
        print(f"thread {name:16} {count} context switches in {seconds:g} s")
    parts = memory(pid)
    for name, size in parts.items():
        print(f"{name:23} {size / 1e6:.1f} MB")
    resident = parts["RssAnon"] + parts["RssFile"]
    print(f"{'RssAnon + RssFile':23} {resident / 1e6:.1f} MB "
          f"(budget without client and renderer: {MAX_RESIDENT / 1e6:.0f} MB)")
    return {"seconds": seconds, "context_switches": total, "resident_bytes": resident}


def measure_guest(door, seconds, folder):
    """With a guest that has booted and does nothing."""
    options = ["--gpu", "none"]
    options += [] if door is Door.VHOST_USER_GPU else ["--hostmem", "256M"]
    with Device(door, folder / "device", arguments=options) as device:
        with Guest(door, device.socket_path, folder / "guest", agent=True) as guest:
            # The console's cursor blinks, and each time is a picture that the guest draws.
            guest.check("echo 0 > /sys/class/graphics/fbcon/cursor_blink")
            time.sleep(START_SECONDS)  # what remains of its start
            return measure(device.process.pid, seconds)


def measure_alone(seconds, folder):
    control = folder / "control.sock"
    device = subprocess.Popen(
        [swede_program(), "device", "--socket-path", f"{folder}/gpu.sock", "--gpu", "none",
         "--control-path", control, "--display", f"png:{folder}/pictures"],
        stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not control.exists() and device.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(1)  # what remains of its start
        return measure(device.pid, seconds)
    finally:
        device.terminate()
        device.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--pid", type=int, help="a device that runs; without it one is started")
    group.add_argument("--guest", choices=[door.value for door in Door if door != Door.QEMU_OWN],
                       help="start it with a guest")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swede-idle-") as name:
        folder = pathlib.Path(name)
        if arguments.pid:
            figures = measure(arguments.pid, arguments.seconds)
        elif arguments.guest:
            figures = measure_guest(Door(arguments.guest), arguments.seconds, folder)
        else:
            figures = measure_alone(arguments.seconds, folder)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures) + "\n")
    alone = not arguments.pid and not arguments.guest
    too_big = alone and figures["resident_bytes"] > MAX_RESIDENT
    return 1 if figures["context_switches"] or too_big else 0


if __name__ == "__main__":
    sys.exit(main())
