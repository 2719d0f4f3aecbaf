# SPDX-License-Identifier: Apache-2.0
"""Builds the project in one of its flavours, each in a folder of its own."""

import dataclasses
import os
import pathlib
import re
import subprocess

from report import Failure, Progress

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# A clean clone compiles only what no earlier one did. Meson would find ccache by itself, but not for
# a compiler that is named.
_GCC = {"CC": "ccache gcc", "CXX": "ccache g++"}
_CLANG = {"CC": "ccache clang-19", "CXX": "ccache clang++-19"}
# Objects do not depend on where the clone lies, apart from what debug information says of its folder.
_CCACHE = {"CCACHE_BASEDIR": str(REPOSITORY), "CCACHE_NOHASHDIR": "true",
           "CCACHE_COMPILERCHECK": "content"}


@dataclasses.dataclass(frozen=True)
class Flavour:
    """One way to build: Meson's options, and the compiler by environment."""

    name: str
    options: tuple
    compiler: dict

    @property
    def folder(self):
        return REPOSITORY / ("build" if self.name == "release" else f"build-{self.name}")


# A report needs names and lines, no more; full debug information and -O2 take longer to compile than
# the tests then save.
_INSTRUMENTED = ("--buildtype=debugoptimized", "-Doptimization=1",
                 "-Dcpp_args=-gline-tables-only", "-Dwerror=true", "-Db_lundef=false",
                 "-Dbench=false")
RELEASE = Flavour("release", ("--buildtype=release", "-Dwerror=true"), _GCC)
# Also the build of the fuzzers: what they run must be instrumented.
ASAN = Flavour("asan", (*_INSTRUMENTED, "-Dfuzz=true", "-Db_sanitize=address,undefined"), _CLANG)
TSAN = Flavour("tsan", (*_INSTRUMENTED, "-Db_sanitize=thread"), _CLANG)
# Clang's own coverage, which counts regions exactly; no sanitizer, so that it is fast.
COVERAGE = Flavour("coverage", ("--buildtype=debug", "-Dwerror=true", "-Dfuzz=true",
                                "-Dcpp_args=-fprofile-instr-generate -fcoverage-mapping",
                                "-Dcpp_link_args=-fprofile-instr-generate"), _CLANG)


def build(flavour, *targets):
    """Configures once, builds what changed (of `targets`, else all); the log is in its folder."""
    folder = flavour.folder
    folder.mkdir(exist_ok=True)
    log = folder / "build.log"
    progress = Progress(f"build: {folder.name}")
    environment = {**os.environ, **_CCACHE, **flavour.compiler}
    with open(log, "w", encoding="utf-8") as output:
        if not (folder / "build.ninja").exists():
            command = ["/usr/bin/meson", "setup", str(folder), *flavour.options]
            status = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=output,
                                    stderr=subprocess.STDOUT, check=False).returncode
            if status != 0:
                raise Failure(f"{' '.join(command)} failed ({status}); see {log}\n{_tail(log)}")
        command = ["ninja", "-C", str(folder), *targets]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as ninja:
            for line in ninja.stdout:
                output.write(line)
                position = re.match(r"\[(\d+)/(\d+)\]", line)
                if position:
                    progress.update(f"step {position[1]} of {position[2]}")
    if ninja.returncode != 0:
        raise Failure(f"{' '.join(command)} failed ({ninja.returncode}); see {log}\n{_tail(log)}")
    progress.done()
    return folder


def _tail(path):
    lines = path.read_text(errors="replace").splitlines()
    errors = [line for line in lines if re.search(r"\b(error|FAILED)\b", line, re.I)]
    return "\n".join((errors or lines)[-12:])
