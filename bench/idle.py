#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an idle device costs: context switches of its threads over half a minute, and its memory.

    bench/idle.py            a device without a client
    bench/idle.py --pid N    a device that runs, with or without a guest

Budgets: no context switch; with no client and no renderer at most 20 MB of RssAnon and RssFile.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
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
    """Prints the figures; true when the device did not wake."""
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
    print(f"{'RssAnon + RssFile':23} {(parts['RssAnon'] + parts['RssFile']) / 1e6:.1f} MB "
          f"(budget without client and renderer: {MAX_RESIDENT / 1e6:.0f} MB)")
    return total == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pid", type=int, help="a device that runs; without it one is started")
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    if arguments.pid:
        return 0 if measure(arguments.pid, arguments.seconds) else 1
    build = REPOSITORY / os.environ.get("SWEDE_BUILD", "build-release")
    with tempfile.TemporaryDirectory(prefix="swede-idle-") as folder:
        control = pathlib.Path(folder) / "control.sock"
        device = subprocess.Popen(
            [build / "src" / "swede" / "swede", "device", "--socket-path", f"{folder}/gpu.sock",
             "--control-path", control, "--display", f"png:{folder}/pictures"],
            stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not control.exists() and device.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(1)  # what remains of its start
            small = memory(device.pid)
            slept = measure(device.pid, arguments.seconds)
            return 0 if slept and small["RssAnon"] + small["RssFile"] <= MAX_RESIDENT else 1
        finally:
            device.terminate()
            device.wait()


if __name__ == "__main__":
    sys.exit(main())
