# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that building and testing need on this machine, and how they get there."""

import os
import platform
import shutil
import subprocess

from report import Failure, say

PACKAGES = [
    # compilers and build
    "g++", "ccache", "git", "meson", "ninja-build", "pkg-config", "libc6-dev",
    # by which Meson knows the folder of libraries: it takes lib64 else, where Debian looks for none
    "dpkg-dev",
    # sanitizers, fuzzing, coverage, style: named with their version, since the default clang is too old
    "clang-19", "clang-tidy-19", "clang-format-19", "libclang-rt-19-dev", "llvm-19",
    # libraries
    "libfmt-dev", "libspdlog-dev", "libcli11-dev", "libpng-dev", "nlohmann-json3-dev",
    "libseccomp-dev", "libvulkan-dev", "libgbm-dev", "libgtest-dev", "libgmock-dev", "libbenchmark-dev",
    # tests
    "python3-pytest", "python3-pytest-timeout", "python3-pil", "python3-numpy", "edid-decode",
    # Vulkan and OpenGL programs on this host, and the screen that some show themselves on
    "libvulkan1", "vulkan-tools", "glslang-tools", "xvfb", "libegl-dev",
    "libgles-dev",
    # Wayland compositors without a screen, their pictures and clipboards
    "sway", "weston", "grim", "wl-clipboard",
    # programs that are built on the installed C library, and whether those built before still fit
    "cmake", "abigail-tools",
    # headers of the programs that the guest tests put into guests
    "libdrm-dev",
    # trees and images
    "zstd", "cpio", "debian-archive-keyring", "ca-certificates",
]

ATTEMPTS = 3


def check_machine():
    if platform.machine() != "x86_64" or not shutil.which("apt-get"):
        raise Failure(f"this machine ({platform.machine()}) is not supported: "
                      "Debian 12 or 13 on x86_64 is needed")


def missing_packages():
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *PACKAGES],
        capture_output=True, text=True, check=False)
    present = {line.split()[1] for line in answer.stdout.splitlines()
               if line.startswith("installed ")}
    return [name for name in PACKAGES if name not in present]


def install_missing_packages():
    check_machine()
    missing = missing_packages()
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise Failure("packages are missing; run this as root, then run me again:\n"
                      f"  apt-get update && {' '.join(command)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    say(f"setup: installing {' '.join(missing)}")
    for attempt in range(ATTEMPTS):
        # Lists may be absent, or name packages that the mirror has replaced since.
        subprocess.run(["apt-get", "update", "-q"], env=environment, stdout=2, check=False)
        if subprocess.run(command, env=environment, stdout=2, check=False).returncode == 0:
            return
        say(f"setup: attempt {attempt + 1} of {ATTEMPTS} failed")
    raise Failure(f"packages could not be installed; the command was: {' '.join(command)}")
