#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What Vulkan commands cost on our device, and what they cost natively, on the same driver.

The program `vulkan_rows` runs in turns (native, swede, native, swede...), so that what else the
machine does meets both; a row's figure is the median of its turns. It needs no more than this file,
the programs, a Vulkan loader and a driver: on a machine without the cache of scripts/setup, name
them by options. The exit status is 1 where a target is missed.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "bench" / "results"
TURN_SECONDS = 1200


def say(text):
    print(f"vulkan: {text}", file=sys.stderr, flush=True)


def cached(name):
    """A path of the cache of scripts/setup; None where there is none."""
    answer = subprocess.run([REPOSITORY / "scripts" / "setup", "--print", name],
                            capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


class Contender:
    """One way to run the program, and the rows that it gave in each turn."""

    def __init__(self, name, command, environment):
        self.name = name
        self.turns = []
        self.device = None
        self.processor_seconds = []  # of all processes of a turn, the device's too
        self._command = command
        self._environment = environment

    def turn(self):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = subprocess.run(self._command, env=self._environment, stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=TURN_SECONDS, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if answer.returncode != 0:
            raise RuntimeError(f"{self.name} ended with status {answer.returncode}: "
                               f"{answer.stdout[-500:]}{answer.stderr[-2000:]}")
        lines = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
        self.device = next(line for line in lines if "device" in line)
        self.turns.append({line["row"]: line for line in lines if "row" in line})
        self.processor_seconds.append(after.ru_utime + after.ru_stime
                                      - before.ru_utime - before.ru_stime)

    def median(self, row, figure):
        values = [turn[row][figure] for turn in self.turns if figure in turn.get(row, {})]
        return statistics.median(values) if values else None


def contenders(arguments):
    kept = {key: value for key, value in os.environ.items()
            if key in ("PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "LANG", "LD_LIBRARY_PATH",
                       "VK_DRIVER_FILES", "VK_ICD_FILENAMES")}
    libraries = [path for path in (arguments.libraries, kept.get("LD_LIBRARY_PATH")) if path]
    if libraries:
        kept["LD_LIBRARY_PATH"] = ":".join(libraries)
    if arguments.native_driver:
        kept["VK_DRIVER_FILES"] = kept["VK_ICD_FILENAMES"] = arguments.native_driver
    program = [arguments.program, "--milliseconds", str(arguments.milliseconds)]
    if arguments.only:
        program += ["--only", arguments.only]
    yield Contender("native", program, kept)
    if arguments.native_only:
        return
    options = ["--driver", arguments.guest_driver] if arguments.guest_driver else []
    yield Contender("swede", [arguments.swede, "run", *options, "--", *program], kept)


def processor_name():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        return re.search(r"^model name\s*: (.*)$", text, re.M)[1]
    except (OSError, TypeError):
        return platform.machine()


def table(native, swede):
    """Lines of a table, and {row: figures}. A rate's ratio is ours by the native one; above 1 is
    faster than native."""
    rows, lines = {}, []
    lines.append(f"{'row':34} {'native':>12} {'swede':>12} {'ratio':>6} "
                 f"{'cpu native':>11} {'cpu swede':>11}")
    for row in native.turns[0]:
        figures = {"native_ns": native.median(row, "ns"),
                   "native_processor_ns": native.median(row, "processor_ns"),
                   "native_bytes_per_second": native.median(row, "bytes_per_second")}
        if swede:
            figures |= {"swede_ns": swede.median(row, "ns"),
                        "swede_processor_ns": swede.median(row, "processor_ns"),
                        "swede_bytes_per_second": swede.median(row, "bytes_per_second")}
            if figures["swede_ns"] is None:
                lines.append(f"{row:34} {amount(figures, 'native'):>12} {'lacking':>12}")
                rows[row] = figures
                continue
            ratios = [a[row]["ns"] / b[row]["ns"] for a, b in zip(native.turns, swede.turns)
                      if row in a and row in b]
            figures |= {"ratio": statistics.median(ratios), "ratio_min": min(ratios),
                        "ratio_max": max(ratios)}
        rows[row] = figures
        lines.append(
            f"{row:34} {amount(figures, 'native'):>12} "
            + (f"{amount(figures, 'swede'):>12} {figures['ratio']:6.2f} " if swede
               else f"{'':>12} {'':>6} ")
            + f"{figures['native_processor_ns']:8.0f} ns"
            + (f" {figures['swede_processor_ns']:8.0f} ns" if swede else ""))
    return lines, rows


def amount(figures, side):
    rate = figures[f"{side}_bytes_per_second"]
    return f"{rate / 1e9:.2f} GB/s" if rate else f"{figures[f'{side}_ns']:.0f} ns"


def summary(rows, on_processor):
    """What the project asks of the rows: {sentence: whether it is met}. `on_processor`: the driver
    draws without a GPU."""
    compared = {name: row for name, row in rows.items() if "ratio" in row}

    def mean(wanted):
        ratios = [row["ratio"] for name, row in compared.items() if wanted(name)]
        return statistics.geometric_mean(ratios) if ratios else None

    figures = {}

    def judge(what, value, limit, relation, unit=""):
        if value is not None:
            met = value >= limit if relation == "at least" else value <= limit
            figures[f"{what} {value:.2f}{unit}, {relation} {limit:g}{unit}"] = met

    judge("draws, geometric mean of ratios",
          mean(lambda name: name.startswith("draw ") and "multi" not in name),
          0.8 if on_processor else 0.6, "at least")
    judge("multi-draw, ratio", mean(lambda name: name.startswith("draw multi")), 0.9, "at least")
    judge("bytes through memory, geometric mean of ratios",
          mean(lambda name: name.startswith("bytes ")), 0.95, "at least")
    fence = compared.get("fence round trip")
    if fence and not on_processor:
        judge("fence round trip above native", (fence["swede_ns"] - fence["native_ns"]) / 1000, 15,
              "at most", " us")
    return figures


def parsed():
    build = pathlib.Path(os.environ.get("SWEDE_BUILD", REPOSITORY / "build"))
    parser = argparse.ArgumentParser(prog="vulkan", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--program", default=str(build / "bench" / "vulkan_rows"))
    parser.add_argument("--swede", default=str(build / "src" / "swede" / "swede"))
    parser.add_argument("--native-driver", default=cached("driver-lavapipe"), metavar="FILE",
                        help="for both sides, JSON; default: lavapipe of the cache, or what the "
                        "loader finds; empty: what the loader finds")
    parser.add_argument("--guest-driver", default=cached("driver-gfxstream"), metavar="FILE",
                        help="Mesa's gfxstream, JSON; default: that of the cache, or installed")
    parser.add_argument("--libraries", default=cached("driver-libraries"), metavar="FOLDER",
                        help="where the drivers' libraries are; default: the cache's")
    parser.add_argument("--native-only", action="store_true", help="do not run on our device")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--milliseconds", type=int, default=200, help="of each row in a turn")
    parser.add_argument("--only", metavar="WORD", help="rows that have it in their names")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help=f"default: {RESULTS.relative_to(REPOSITORY)}/vulkan-DEVICE-DATE.json")
    return parser.parse_args()


def main():
    arguments = parsed()
    sides = list(contenders(arguments))
    for turn in range(arguments.turns):
        for side in sides:
            say(f"turn {turn + 1} of {arguments.turns}: {side.name}")
            side.turn()
    native, swede = sides[0], sides[1] if len(sides) > 1 else None
    lines, rows = table(native, swede)
    today = datetime.date.today().isoformat()
    print(f"Vulkan commands on {native.device['device']}, {processor_name()}, "
          f"{len(os.sched_getaffinity(0))} processors, {today}, {arguments.turns} turns")
    print("\n".join(lines))
    met = summary(rows, "llvmpipe" in native.device["device"])
    for figure, is_met in met.items():
        print(f"{figure}: {'met' if is_met else 'MISSED'}")
    for side in sides:
        print(f"processor seconds of a turn, {side.name}: "
              f"{statistics.median(side.processor_seconds):.2f}")
    path = arguments.json
    if path is None:
        name = re.sub(r"[^a-z0-9]+", "-", native.device["device"].lower()).strip("-")
        path = RESULTS / f"vulkan-{name}-{today}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "date": today, "processor": processor_name(),
        "processors": len(os.sched_getaffinity(0)), "turns": arguments.turns,
        "milliseconds": arguments.milliseconds,
        "devices": {side.name: side.device for side in sides},
        "processor_seconds_of_a_turn": {side.name: side.processor_seconds for side in sides},
        "figures": {figure: "met" if is_met else "missed" for figure, is_met in met.items()},
        "rows": rows}, indent=1) + "\n")
    say(f"figures: {path}")
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, subprocess.SubprocessError) as failure:
        print(f"vulkan: {failure}", file=sys.stderr)
        sys.exit(1)
