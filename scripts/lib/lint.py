# SPDX-License-Identifier: Apache-2.0
"""Style: what a program can check of CONTRIBUTING.md. It only tells; `clang-format-19 -i` mends
form.

Each check takes the root of a tree and its files, as paths relative to the root, and returns
sentences.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
import build
from report import Failure, Progress, say
from results import Results

MAX_LINES = 800
SPDX = "SPDX-License-Identifier: Apache-2.0"
CLANG_FAMILY = {".cpp", ".h", ".hpp", ".c"}
SOURCE_SUFFIXES = CLANG_FAMILY | {".py", ".sh"}
SOURCE_NAMES = {"meson.build", "meson_options.txt"}


def tree_files(root):
    """What git knows, and what it does not ignore."""
    answer = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=root, capture_output=True, check=True)
    names = sorted(set(answer.stdout.decode().split("\0")) - {""})
    return [pathlib.PurePath(name) for name in names if (root / name).is_file()]


def is_source(root, path):
    if path.suffix in SOURCE_SUFFIXES or path.name in SOURCE_NAMES:
        return True
    if path.suffix:
        return False
    with open(root / path, "rb") as file:
        return file.read(2) == b"#!"


def check_form(root, files):
    """clang-format has nothing to change."""
    chosen = [str(path) for path in files if path.suffix in CLANG_FAMILY]
    if not chosen:
        return []
    answer = subprocess.run(["clang-format-19", "--dry-run", "-Werror", *chosen], cwd=root,
                            capture_output=True, text=True, check=False)
    counts = {}
    for name in re.findall(r"^(\S+?):\d+:\d+: error: code should be clang-formatted", answer.stderr,
                           re.M):
        counts[name] = counts.get(name, 0) + 1
    if answer.returncode != 0 and not counts:
        return [f"clang-format-19 ended with {answer.returncode}: {answer.stderr.strip()}"]
    return [f"{name}: clang-format-19 would change {count} places"
            for name, count in counts.items()]


def check_licence(root, files):
    """The licence stands on the first line, or behind '#!'."""
    broken = []
    for path in files:
        if not is_source(root, path):
            continue
        lines = (root / path).read_text(errors="replace").splitlines()[:3]
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if not lines or SPDX not in lines[0]:
            broken.append(f"{path}: does not begin with {SPDX}")
    return broken


def check_length(root, files):
    broken = []
    for path in files:
        if is_source(root, path):
            lines = len((root / path).read_bytes().splitlines())
            if lines > MAX_LINES:
                broken.append(f"{path}: has {lines} lines, at most {MAX_LINES} are allowed")
    return broken


def check_readmes(_, files):
    """Each folder of sources says what lives in it."""
    known = set(files)
    folders = {path.parent for path in files
               if path.parts[0] == "src" and len(path.parts) > 2 and path.suffix in CLANG_FAMILY}
    return [f"{folder}: has no README.md" for folder in sorted(folders)
            if folder / "README.md" not in known]


def folder_order(root, folder=pathlib.PurePath("src")):
    """Folders of `folder`, relative to src, in the order in which Meson enters them; what lies in a
    folder itself stands above its own folders."""
    order = []
    for name in re.findall(r"^\s*subdir\('([^']+)'\)", (root / folder / "meson.build").read_text(),
                           re.M):
        path = folder / name
        order.append(path.relative_to("src"))
        if (root / path / "meson.build").is_file():
            order += folder_order(root, path)
    return order


def check_includes(root, files):
    """A folder includes itself and what stands above it in src/meson.build; src/wire, which is not
    built, stands above all."""
    order = [pathlib.PurePath("wire"), *folder_order(root)]

    def place(path):
        for parent in path.parents:
            if parent in order:
                return order.index(parent)
        return None

    broken = []
    for path in files:
        if path.parts[0] != "src" or path.suffix not in CLANG_FAMILY or len(path.parts) < 3:
            continue
        own = place(path.relative_to("src"))
        if own is None:
            broken.append(f"{path}: its folder is not in src/meson.build")
            continue
        for number, line in enumerate((root / path).read_text(errors="replace").splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found:
                continue
            target = place(pathlib.PurePath(found[1]))
            if target is None:
                broken.append(f"{path}:{number}: includes \"{found[1]}\", which is in no folder of "
                              "src: write FOLDER/NAME.h")
            elif target > own:
                broken.append(f"{path}:{number}: {order[own]} includes \"{found[1]}\", but "
                              f"{order[target]} stands below it in src/meson.build")
    return broken


CHECKS = {
    "form": check_form,
    "licence": check_licence,
    "length": check_length,
    "readmes": check_readmes,
    "includes": check_includes,
}


def style(root=build.REPOSITORY):
    """All quick checks: one result each, a failure for each thing that is wrong."""
    files = tree_files(root)
    results = Results()
    for name, check in CHECKS.items():
        broken = check(root, files)
        results.failed += [f"style: {name}: {sentence}" for sentence in broken]
        results.passed += not broken
    return results


def changed_files(root):
    answer = subprocess.run(["git", "diff", "--name-only", "-z", "HEAD"], cwd=root,
                            capture_output=True, check=True)
    return {pathlib.PurePath(name) for name in answer.stdout.decode().split("\0") if name}


def tidy(flavour, only=None):
    """clang-tidy on every C++ file that the build compiles, or on those in `only`; a result each."""
    folder = flavour.folder
    root = build.REPOSITORY
    entries = json.loads((folder / "compile_commands.json").read_text())
    sources = [os.path.join(entry["directory"], entry["file"]) for entry in entries]
    paths = {pathlib.PurePath(os.path.relpath(source, root)) for source in sources}
    chosen = sorted(path for path in paths if path.suffix == ".cpp"
                    and path.parts[0] in ("src", "tests", "bench")
                    and (only is None or path in only))
    progress = Progress("clang-tidy")
    results = Results()

    def run(path):
        answer = subprocess.run(["clang-tidy-19", "-p", str(folder), "--quiet", str(path)],
                                cwd=root, capture_output=True, text=True, check=False)
        return path, answer

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number, (path, answer) in enumerate(pool.map(run, chosen), 1):
            progress.update(f"{number} of {len(chosen)}")
            found = re.findall(r"^(\S+?:\d+:\d+): (?:error|warning): (.*)$", answer.stdout, re.M)
            # Places are absolute, or as the build names them.
            results.failed += [f"tidy: {os.path.relpath(os.path.join(folder, place), root)}: {text}"
                               for place, text in dict.fromkeys(found)]
            if answer.returncode != 0 and not found:
                results.failed.append(f"tidy: {path}: clang-tidy-19 ended with "
                                      f"{answer.returncode}: {answer.stderr.strip()[-300:]}")
            results.passed += answer.returncode == 0 and not found
    results.failed = list(dict.fromkeys(results.failed))  # a header is read by many files
    progress.done(f"{len(chosen)} files")
    return results


def main():
    parser = argparse.ArgumentParser(
        prog="lint", description="Checks form, licence lines, lengths, READMEs and the direction "
        "of includes. Changes nothing.")
    parser.add_argument("--tidy", choices=["changed", "all"],
                        help="clang-tidy too, on files changed since the last commit or on all")
    arguments = parser.parse_args()
    try:
        results = style()
        if arguments.tidy:
            build.build(build.ASAN)  # its commands are clang's, and generated headers are there
            only = changed_files(build.REPOSITORY) if arguments.tidy == "changed" else None
            results += tidy(build.ASAN, only)
    except Failure as failure:
        say(f"lint: {failure}")
        return 1
    for failure in results.failed:
        print(failure)
    print(results.summary())
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
