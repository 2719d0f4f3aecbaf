# SPDX-License-Identifier: Apache-2.0
"""Command line of scripts/test: which parts run, and what is said at the end."""

import argparse
import datetime
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
import build
import lint
import test_parts
from report import Failure, say
from results import Results

SHORT_FUZZING_SECONDS = 30
LONG_FUZZING_SECONDS = 3600
FIGURES = build.REPOSITORY / "docs" / "nightly"


def plan(level, fuzz_seconds=None):
    """(name, function) in the order of running; a function returns Results, or None for a build."""
    slow = level == "nightly"

    def suite(name, flavour):
        return (f"{name} ({flavour.name})",
                lambda: test_parts.python_tests(name, flavour, slow=slow))

    def side_by_side(name, flavour, at_once):
        return (f"{name} ({flavour.name})",
                lambda: test_parts.python_tests_side_by_side(name, flavour, at_once, slow=slow))

    def protocol(flavour):
        return side_by_side("protocol", flavour, 2 * test_parts.CORES)

    def unit(flavour):
        return f"unit ({flavour.name})", lambda: test_parts.unit_tests(flavour)

    def built(flavour, *targets):
        return f"build ({flavour.name})", lambda: build.build(flavour, *targets) and None

    coverage = ("fuzz coverage", lambda: test_parts.fuzz_coverage(build.COVERAGE))
    if level == "coverage":
        yield built(build.COVERAGE, *test_parts.fuzz_targets())
        yield coverage
        return
    yield "style", lint.style
    yield built(build.RELEASE)
    yield suite("scripts", build.RELEASE)
    yield unit(build.RELEASE)
    yield protocol(build.RELEASE)
    if level == "quick":
        return
    yield suite("local", build.RELEASE)
    yield suite("vulkan", build.RELEASE)
    yield side_by_side("guest", build.RELEASE, test_parts.CORES)  # a guest waits on one core
    for flavour in (build.ASAN, build.TSAN):
        yield built(flavour)
        yield unit(flavour)
        yield protocol(flavour)
    yield suite("local", build.ASAN)
    seconds = fuzz_seconds or (LONG_FUZZING_SECONDS if slow else SHORT_FUZZING_SECONDS)
    yield "fuzz", lambda: test_parts.fuzzers(build.ASAN, seconds)
    if slow:
        yield "tidy", lambda: lint.tidy(build.ASAN)
        yield built(build.COVERAGE, *test_parts.fuzz_targets())
        yield coverage
        yield "bench", lambda: test_parts.benchmarks(build.RELEASE)
        yield "bench programs", lambda: test_parts.program_benchmarks(build.RELEASE)


def run_part(name, function):
    """Runs a part; whatever goes wrong in it is its failure, and the others still run."""
    started = time.monotonic()
    try:
        results = function()
    except Failure as failure:
        results = Results(failed=[f"{name}: {failure}"])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        results = Results(failed=[f"{name}: {type(error).__name__}: {error}"])
    if results is None:
        return Results()
    if results.count() == 0:
        results.failed.append(f"{name}: nothing ran")
    text = f"{name:20} {results.summary()}"
    say(f"{text:60} {time.monotonic() - started:7.1f} s")
    return results


def write_figures(total, minutes):
    """The nightly run's record, to be committed."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=build.REPOSITORY,
                            capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.date.today().isoformat()
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{today}-{commit or 'unknown'}.md"
    lines = [f"# Nightly run of {today}, commit {commit or 'unknown'}", "",
             f"{total.summary()}, {minutes:.0f} minutes, {test_parts.CORES} cores", "",
             "| what | figure |", "|---|---|"]
    lines += [f"| {name} | {figure} |" for name, figure in total.figures.items()]
    path.write_text("\n".join(lines) + "\n")
    say(f"figures: {path.relative_to(build.REPOSITORY)}")


def main():
    parser = argparse.ArgumentParser(
        prog="test", description="Builds and tests. Without an option: style; the scripts' own, unit, "
        "protocol, local, Vulkan and guest tests; sanitizers; short fuzzing. With CI=true in the environment a skipped test is a "
        "failure. Logs are in out/test.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", dest="level", action="store_const", const="quick",
                       help="only style, and scripts', unit and protocol tests of the release build")
    group.add_argument("--nightly", dest="level", action="store_const", const="nightly",
                       help="all, with what is slow: long fuzzing, soak, Piglit, a newer guest driver, "
                       "benchmarks; "
                       f"writes a record into {FIGURES.relative_to(build.REPOSITORY)}")
    group.add_argument("--coverage", dest="level", action="store_const", const="coverage",
                       help="only measure what the fuzz targets reach of the parsers they name, "
                       "with the inputs in the tree and those found by earlier runs")
    parser.add_argument("--fuzz-seconds", type=int, metavar="N", help="fuzz each target for N "
                        f"seconds; default {SHORT_FUZZING_SECONDS}, with --nightly "
                        f"{LONG_FUZZING_SECONDS}")
    parser.set_defaults(level="default")
    arguments = parser.parse_args()
    level = arguments.level
    started = time.monotonic()
    total = Results()
    try:
        for name, function in plan(level, arguments.fuzz_seconds):
            total += run_part(name, function)
    except KeyboardInterrupt:
        total.failed.append("interrupted")
    if level == "coverage":
        for name, figure in total.figures.items():
            print(f"{name}: {figure}")
    for failure in total.failed:
        print(f"failed: {failure}")
    for name, reason in total.skipped:
        print(f"skipped: {name}: {reason}")
    minutes = (time.monotonic() - started) / 60
    if level == "nightly":
        write_figures(total, minutes)
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if in_ci and total.skipped:
        print("in CI a skipped test is a failure")
    sys.stderr.flush()
    print(total.summary(), flush=True)
    return 1 if total.failed or (in_ci and total.skipped) else 0


if __name__ == "__main__":
    sys.exit(main())
