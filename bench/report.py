#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs all benchmarks, one at a time, and writes their figures into docs/benchmarks.md.

    bench/report.py                  all; about ten minutes
    bench/report.py --only device    some: those whose name has the word
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(REPOSITORY / "scripts" / "lib"), str(REPOSITORY / "tests" / "guest")]
# pylint: disable=wrong-import-position
import build
from kvm import kvm_is_usable
from lab import build_folder
from report import Failure, say

PAGE = REPOSITORY / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
GUEST_SIZES = ["1920x1080", "1280x800"]
GUEST_DOORS = ["vfio-user", "vhost-user"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    target: str = ""
    met: bool = True


def wanted(value, relation, limit, unit=""):
    """(target as text, met): relation is 'at least' or 'at most'."""
    met = value >= limit if relation == "at least" else value <= limit
    return f"{relation} {limit:g}{unit}", met


# Counters of Google Benchmark rows that the project has a target for.
TARGETS = [
    (r"^full_frame", "ratio", "at least", 0.9),
    (r"^FencedRoundTrip", "ratio", "at most", 2.5),
]


def google_benchmark(program, folder):
    """Rows of one program: the time of a run, and the counters that it keeps."""
    output = folder / f"{program.name}.json"
    subprocess.run([program, f"--benchmark_out={output}", "--benchmark_out_format=json"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    standard = {"name", "run_name", "run_type", "time_unit", "aggregate_name", "label"}
    for entry in json.loads(output.read_text())["benchmarks"]:
        name = re.sub(r"/(min_time|iterations|repeats|manual_time|real_time)(:[\d.]+)?", "",
                      entry["name"])
        counters = {key: value for key, value in entry.items() if isinstance(value, float)
                    and key not in standard | {"real_time", "cpu_time", "items_per_second"}}
        texts = [f"{entry['real_time']:.4g} {entry['time_unit']}"]
        if "items_per_second" in entry:
            texts = [f"{entry['items_per_second'] / 1e6:.2f} million a second"]
        elif "p50_us" in counters:  # a run is a batch of them
            texts = []
        texts += [f"{key} {value:.3g}" for key, value in sorted(counters.items())]
        target, met = "", True
        for pattern, counter, relation, limit in TARGETS:
            if re.search(pattern, name):
                target, met = wanted(counters[counter], relation, limit)
                target = f"{counter} {target}"
        yield Row(name, ", ".join(texts), target, met)


def guest_draw(size, folder):
    output = folder / f"draw-{size}.json"
    # 1: a ratio below the target, which the table shows
    run([HERE / "guest_draw.py", "--size", size, "--json", output, "--turns", "7", "--seconds", "1",
         "--count", "300"], {0, 1})
    measured = json.loads(output.read_text())
    for door, values in measured["figures"].items():
        for mode in ("flip", "dirty"):
            text = (f"{values[f'{mode} frames_per_second']:.0f} frames/s, "
                    f"{values[f'{mode} processor_ms_per_frame']:.2f} ms of processor a frame")
            target, met = "", True
            if f"{mode} ratio" in values:
                text += (f", ratio {values[f'{mode} ratio']:.2f} (turns "
                         f"{values[f'{mode} ratio min']:.2f} to {values[f'{mode} ratio max']:.2f})")
                target, met = wanted(values[f"{mode} ratio"], "at least", measured["target"])
                target = f"ratio {target}"
            yield Row(f"guest {mode} {size}, {door}", text, target, met)
        yield Row(f"guest damage 64x64 of {size}, {door}",
                  f"p50 {values['damage p50_us']:.0f} us, p99 {values['damage p99_us']:.0f} us")


def idle(door, folder):
    output = folder / "idle.json"
    run([HERE / "idle.py", "--json", output, *(["--guest", door] if door else [])], {0, 1})
    figures = json.loads(output.read_text())
    target, met = wanted(figures["context_switches"], "at most", 0, " switches")
    memory = figures["resident_bytes"] / 1e6
    if not door:
        size, fits = wanted(memory, "at most", 20, " MB")
        target, met = f"{target}, {size}", met and fits
    yield Row(f"idle, {f'guest on {door}' if door else 'no client'}",
              f"{figures['context_switches']} context switches in {figures['seconds']:g} s, "
              f"{memory:.1f} MB", target, met)


def idle_memory(folder):
    output = folder / "idle-memory.json"
    run([HERE / "idle_memory.py", "--json", output], {0, 1})
    figures = json.loads(output.read_text())
    size = figures["beside_driver_bytes"] / 1e6
    target, met = wanted(size, "at most", 4, " MB")
    yield Row("idle Vulkan program, beside the driver",
              f"{size:.2f} MB (renderer {figures['renderer_bytes'] / 1e6:.1f} MB, of it the driver "
              f"{figures['driver_bytes'] / 1e6:.1f} MB)", target, met)


def run(command, good):
    status = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL,
                            check=False).returncode
    if status not in good:
        raise Failure(f"{command[0].name} ended with {status}")


def plan(folder):
    for program in sorted((build_folder() / "bench").glob("*_bench")):
        yield program.name, lambda program=program: google_benchmark(program, folder)
    for size in GUEST_SIZES:
        yield f"guest_draw {size}", lambda size=size: guest_draw(size, folder)
    for door in [None, *GUEST_DOORS]:
        yield f"idle {door or ''}".strip(), lambda door=door: idle(door, folder)
    yield "idle memory", lambda: idle_memory(folder)


def machine():
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    cores = len(os.sched_getaffinity(0))
    return (f"{cores} cores ({model[1] if model else 'unknown'}), guests on "
            f"{'KVM' if kvm_is_usable() else 'QEMU TCG, software emulation'}")


def text_of(rows, loads):
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=REPOSITORY,
                            capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    lines = [f"{today}, commit {commit or 'unknown'}, {machine()}. Load "
             f"average during the run {min(loads):.1f} to {max(loads):.1f}; the run alone makes "
             "about 2.", "", "| what | figure | target | met |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.target} | "
              f"{('yes' if row.met else '**no**') if row.target else ''} |" for row in rows]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="report", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--only", default="", help="benchmarks whose name has this word; the page "
                        "stays as it is, the table is printed")
    arguments = parser.parse_args()
    if "SWEDE_BUILD" not in os.environ:
        build.build(build.RELEASE)
    rows, loads = [], []
    with tempfile.TemporaryDirectory(prefix="swede-bench-") as folder:
        for name, measure in plan(pathlib.Path(folder)):
            if arguments.only in name:
                say(f"report: {name}")
                loads.append(os.getloadavg()[0])
                rows += measure()
                loads.append(os.getloadavg()[0])
    table = text_of(rows, loads)
    if arguments.only:
        print(table)
    else:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")
        say(f"report: {PAGE.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, subprocess.CalledProcessError) as failure:
        say(f"report: {failure}")
        sys.exit(1)
