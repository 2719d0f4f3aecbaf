# SPDX-License-Identifier: Apache-2.0
"""Builds small C programs so that they run in any guest."""

import pathlib
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
