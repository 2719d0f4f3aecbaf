# SPDX-License-Identifier: Apache-2.0
"""Builds small C programs so that they run in any guest."""

import pathlib
import re
import subprocess

import lab

PROGRAMS = pathlib.Path(__file__).parent / "programs"


def build_guest_programs(sources, folder):
    """Links each source statically; returns {path in the guest: file}, as Guest takes it."""
    headers = subprocess.run(["pkg-config", "--cflags", "libdrm"], capture_output=True, text=True,
                             check=True).stdout.split()
    built = {}
    for source in sources:
        target = pathlib.Path(folder) / source.stem
        subprocess.run(["cc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", *headers,
                        f"-I{PROGRAMS}", f"-I{lab.REPOSITORY}/tests/programs", "-o", target, source,
                        "-lpthread"], check=True)
        built[f"/usr/bin/{source.stem}"] = target
    return built


def with_libraries(program, names):
    """A program of this build for a guest of a newer system, with those libraries of this machine that
    the guest has not; returns {path in the guest: file}. Run it with LD_LIBRARY_PATH=/swede/lib."""
    files = {f"/usr/bin/{program.name}": program}
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow and name.split(".so")[0] in names:
            files[f"/swede/lib/{name}"] = pathlib.Path(rest.split(" (")[0]).resolve()
    return files


def with_all_libraries(programs, folder):
    """Programs of this machine for any guest, with all that they are linked to; returns {path in the
    guest: file}. Run them as `/swede/host/run PROGRAM`."""
    files = {}
    for program in map(pathlib.Path, programs):
        files[f"/swede/host/{program.name}"] = program.resolve()
        for line in subprocess.run(["ldd", program], capture_output=True, text=True,
                                   check=True).stdout.splitlines():
            path = re.search(r"(/\S+) \(0x", line)
            if path:
                library = pathlib.Path(path[1])
                files[f"/swede/host/{library.name}"] = library.resolve()
    run = pathlib.Path(folder) / "run"
    run.write_text("#!/bin/sh\nexec /swede/host/ld-linux-x86-64.so.2 --library-path /swede/host "
                   '/swede/host/"$@"\n')
    run.chmod(0o755)
    return files | {"/swede/host/run": run}


def build_preloads(folder):
    """Libraries that guest programs are started with; returns {path in the guest: file}."""
    built = {}
    for source in sorted((PROGRAMS / "preload").glob("*.c")):
        target = pathlib.Path(folder) / f"{source.stem}.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", target,
                        source], check=True)
        built[f"/swede/{target.name}"] = target
    return built
