# SPDX-License-Identifier: Apache-2.0
"""The parts of a test run: unit tests, pytest suites, fuzzers, benchmarks. Each returns Results."""

import base64
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from build import REPOSITORY
from results import Results, read_junit

OUTPUT = REPOSITORY / "out" / "test"
CORES = len(os.sched_getaffinity(0))
NO_TESTS_COLLECTED = 5  # pytest's status: all of a file are for the nightly run

# Without halt_on_error UBSan only prints, and the test passes.
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    # A child of fork() may start threads of its own, as the C library's does.
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:die_after_fork=0",
    "ASAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-19",
    "TSAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-19",
}
# Instrumented programs are slower than the time limits in the build files assume.
SLOWDOWN = {"release": 1, "asan": 4, "tsan": 10}
COVERAGE_PERCENT = 85  # of the lines of each parser that a fuzz target names


def _fresh_folder(part):
    folder = OUTPUT / part.replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run_logged(command, log, environment, timeout, folder=None):
    """Exit status of a command, run in the repository or a folder, whose output goes to a file; None if it
    took too long."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=folder or REPOSITORY, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, env=dict(os.environ, **environment))
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None


def _short_folder():
    """A new folder for what tests make, sockets too: the path of one has at most 107 bytes (unix(7)), and
    that of a clone or TMPDIR alone may be longer."""
    parent = tempfile.gettempdir()
    return pathlib.Path(tempfile.mkdtemp(prefix="swede-", dir=parent if len(parent) <= 20 else "/tmp"))


def _ending(status, seconds):
    return f"did not end within {seconds} s" if status is None else f"exit status {status}"


def unit_tests(flavour):
    """Every test of the build's suite `unit`; the cases of a GoogleTest program are counted singly."""
    part = f"unit {flavour.name}"
    folder = _fresh_folder(part)
    listing = subprocess.run(["/usr/bin/meson", "introspect", "--tests", str(flavour.folder)],
                             capture_output=True, text=True, check=True)
    tests = [test for test in json.loads(listing.stdout)
             if any(suite.split(":")[-1] == "unit" for suite in test["suite"])]

    def run(test):
        name = re.sub(r"\W+", "_", test["name"])
        report, log = folder / f"{name}.xml", folder / f"{name}.log"
        seconds = max(test["timeout"], 30) * SLOWDOWN[flavour.name]
        status = _run_logged(test["cmd"], log,
                             {**SANITIZER_ENVIRONMENT, **test["env"],
                              "GTEST_OUTPUT": f"xml:{report}", "GTEST_BRIEF": "1"},
                             seconds, test["workdir"] or flavour.folder)
        try:
            results = read_junit(report, part)
        except (OSError, SyntaxError):  # no GoogleTest program, or one that died
            results = Results(passed=1 if status == 0 else 0)
        if status != 0 and not results.failed:
            results.failed.append(f"{part}: {test['name']}: {_ending(status, seconds)} (see {log})")
        return results

    total = Results()
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        for results in pool.map(run, tests):
            total += results
    return total


def python_tests_side_by_side(name, flavour, at_once, *, slow=False):
    """pytest for each file of tests/NAME, so many at once: for tests that wait more than they work."""
    # The last to begin should be short; the longest to read are often the longest to run.
    files = sorted((REPOSITORY / "tests" / name).glob("test_*.py"), key=lambda path: -path.stat().st_size)

    def run(path):
        return python_tests(name, flavour, slow=slow, file=path.name)

    total = Results()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for results in pool.map(run, files):
            total += results
    return total


def python_tests(name, flavour, *, slow=False, file=None):
    """pytest on tests/NAME, or one file there, against one build; tests marked `slow` are for the nightly
    run."""
    part = f"{name} {flavour.name}"
    tests = [f"tests/{name}"]
    if file is not None:
        # Not by naming it, which takes a file that its conftest.py leaves out.
        tests += [f"--ignore={other}" for other in sorted((REPOSITORY / "tests" / name).glob("test_*.py"))
                  if other.name != file]
        part += f" {file.removesuffix('.py')}"
    folder = _fresh_folder(part)
    report, log, temporary = folder / "report.xml", folder / "pytest.log", _short_folder()
    command = ["/usr/bin/python3", "-m", "pytest", *tests, "-q", "-p", "no:cacheprovider",
               f"--junitxml={report}", f"--basetemp={temporary / 'pytest'}",
               f"--timeout={120 * SLOWDOWN[flavour.name]}"]
    if not slow:
        command += ["-m", "not slow"]
    environment = {"SWEDE_BUILD": str(flavour.folder), "PYTHONDONTWRITEBYTECODE": "1",
                   "TMPDIR": str(temporary)}
    if flavour.name != "release":
        environment |= SANITIZER_ENVIRONMENT
    status = _run_logged(command, log, environment, None)
    if status in (0, NO_TESTS_COLLECTED):  # otherwise what the tests left tells why
        shutil.rmtree(temporary, ignore_errors=True)
    if file is not None and status == NO_TESTS_COLLECTED:
        return Results()
    try:
        results = read_junit(report, part)
    except (OSError, SyntaxError):
        results = Results()
    if status != 0 and not results.failed:
        results.failed.append(f"{part}: pytest ended with status {status} (see {log})")
    return results


FUZZ_SOURCES = REPOSITORY / "tests" / "fuzz"


def _fuzz_programs(flavour):
    return sorted(path for path in (flavour.folder / "tests" / "fuzz").glob("*_fuzzer")
                  if path.is_file() and os.access(path, os.X_OK))


def _corpora(name):
    """Inputs of one target: those in the tree, and what runs on this machine found."""
    folders = [FUZZ_SOURCES / "corpus" / name, OUTPUT / "corpus" / name]
    return [folder for folder in folders if folder.is_dir()]


def _inputs_of_failure(folder, name):
    """What broke the target, in text: of a run elsewhere its output may be all that is left."""
    return "".join(f"; {path.name} in base64: {base64.b64encode(path.read_bytes()).decode()}"
                   for path in sorted(folder.glob(f"{name}-*")) if path.stat().st_size <= 4096)


def fuzzers(flavour, seconds):
    """Each fuzz target for a while, starting from the inputs in the tree and those found before."""
    folder = _fresh_folder("fuzz")

    def run(program):
        name = program.name.removesuffix("_fuzzer")
        found, log = OUTPUT / "corpus" / name, folder / f"{name}.log"
        found.mkdir(parents=True, exist_ok=True)
        command = [program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                   "-print_final_stats=1", f"-artifact_prefix={folder}/{name}-", found,
                   *[seeds for seeds in _corpora(name) if seeds != found]]
        words = FUZZ_SOURCES / f"{name}.dict"
        if words.is_file():
            command.append(f"-dict={words}")
        limit = seconds + 120
        status = _run_logged(command, log, SANITIZER_ENVIRONMENT, limit)
        text = log.read_text(errors="replace")
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
        cover = re.findall(r"cov: (\d+)", text)
        figures = {f"fuzz {name}": f"{runs[1] if runs else '?'} executions in {seconds} s, "
                                   f"{cover[-1] if cover else '?'} edges"}
        if status == 0:
            return Results(passed=1, figures=figures)
        reason = re.search(r"(runtime error: .*|ERROR: \w+Sanitizer.*|ERROR: libFuzzer.*)", text)
        return Results(figures=figures, failed=[
            f"fuzz: {name}: {reason[1] if reason else _ending(status, limit)} (see {log})"
            f"{_inputs_of_failure(folder, name)}"])

    total = Results()
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        for results in pool.map(run, _fuzz_programs(flavour)):
            total += results
    return total


def fuzz_targets():
    """What to build for fuzz_coverage()."""
    return [f"tests/fuzz/{source.stem}" for source in sorted(FUZZ_SOURCES.glob("*_fuzzer.cpp"))]


def parsers_named_in(source):
    """The files behind 'Parsers:' in the comments of a fuzz target, over any number of lines."""
    text = re.sub(r"\n// ?", " ", source)
    return [path for names in re.findall(r"Parsers:((?:\s+src/\S+)+)", text)
            for path in names.split()]


def fuzz_coverage(flavour):
    """Line coverage, by all inputs of a target, of the parsers that its source names in a comment:
    '// Parsers: src/a/b.cpp src/a/c.h' in tests/fuzz/NAME_fuzzer.cpp."""
    folder = _fresh_folder("coverage")
    total = Results()
    for program in _fuzz_programs(flavour):
        name = program.name.removesuffix("_fuzzer")
        source = FUZZ_SOURCES / f"{program.name}.cpp"
        parsers = parsers_named_in(source.read_text())
        if not parsers:
            total.failed.append(f"coverage: {source.name} has no comment 'Parsers: FILE...'")
            continue
        raw, data, log = (folder / f"{name}.{end}" for end in ("profraw", "profdata", "log"))
        status = _run_logged([program, "-runs=0", *_corpora(name)], log,
                             {"LLVM_PROFILE_FILE": str(raw)}, 600)
        if status != 0:
            total.failed.append(f"coverage: {name}: {_ending(status, 600)} (see {log})")
            continue
        subprocess.run(["llvm-profdata-19", "merge", "-o", data, raw], check=True)
        raw.unlink()
        answer = subprocess.run(
            ["llvm-cov-19", "export", "-summary-only", f"-instr-profile={data}", program,
             *[str(REPOSITORY / path) for path in parsers]],
            capture_output=True, text=True, check=True)
        measured = {os.path.relpath(file["filename"], REPOSITORY): file["summary"]["lines"]
                    for file in json.loads(answer.stdout)["data"][0]["files"]}
        for path in parsers:
            lines = measured.get(path)
            if lines is None or lines["count"] == 0:
                total.failed.append(f"coverage: {name}: nothing of {path} is in the program")
                continue
            percent = 100 * lines["covered"] / lines["count"]
            figure = f"{percent:.1f} % of {lines['count']} lines"
            total.figures[f"coverage {name} {path}"] = figure
            if percent >= COVERAGE_PERCENT:
                total.passed += 1
            else:
                total.failed.append(f"coverage: {name}: {path}: {figure}, at least "
                                    f"{COVERAGE_PERCENT} % are wanted")
    return total


def benchmarks(flavour):
    """Every benchmark program once, one at a time: it must end well, its figures are kept."""
    folder = _fresh_folder("bench")
    total = Results()
    for program in sorted((flavour.folder / "bench").glob("*_bench")):
        report, log = folder / f"{program.name}.json", folder / f"{program.name}.log"
        seconds = 900
        status = _run_logged([program, f"--benchmark_out={report}", "--benchmark_out_format=json"],
                             log, {}, seconds)
        if status != 0:
            total.failed.append(
                f"bench: {program.name}: {_ending(status, seconds)} (see {log})")
            continue
        total.passed += 1
        for row in json.loads(report.read_text())["benchmarks"]:
            counters = [f"{key} {value:.3g}" for key, value in row.items()
                        if isinstance(value, float) and key not in ("real_time", "cpu_time")]
            total.figures[f"bench {row['name']}"] = " ".join(
                [f"{row.get('real_time', 0):.4g} {row.get('time_unit', '')}", *counters])
    return total


# Programs of bench/ that say by their exit status whether a target is met: name -> arguments.
PROGRAM_BENCHMARKS = {
    "guest_draw": ["bench/guest_draw.py"],
    "idle": ["bench/idle.py"],
    "idle vfio-user": ["bench/idle.py", "--guest", "vfio-user"],
    "idle vhost-user": ["bench/idle.py", "--guest", "vhost-user"],
    "idle memory": ["bench/idle_memory.py"],
    "vulkan": ["bench/vulkan.py"],
}


def program_benchmarks(flavour):
    """Each of them once, one at a time; a target that is missed is a failure, figures are kept."""
    folder = _fresh_folder("bench programs")
    total = Results()
    seconds = 1200
    for name, command in PROGRAM_BENCHMARKS.items():
        report, log = folder / f"{name}.json", folder / f"{name}.log"
        status = _run_logged([*command, "--json", report], log,
                             {"SWEDE_BUILD": str(flavour.folder), "PYTHONDONTWRITEBYTECODE": "1"},
                             seconds)
        if status == 0:
            total.passed += 1
        else:
            total.failed.append(f"bench: {name}: {_ending(status, seconds)} (see {log})")
        if report.is_file():
            figures = json.loads(report.read_text())
            total.figures[f"bench {name}"] = json.dumps(figures.get("figures", figures))
    return total
