# SPDX-License-Identifier: Apache-2.0
"""The test device's `run`, and small programs that are built once."""

import os
import pathlib
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(__file__).parent / "programs"
GUEST_PROGRAMS = REPOSITORY / "tests" / "guest" / "programs"
PATIENCE = 60  # seconds; only a hang takes so long


def build_folder():
    """The build that is tested: $SWEDE_BUILD in the repository, by default build."""
    return REPOSITORY / os.environ.get("SWEDE_BUILD", "build")


SWEDE = build_folder() / "tests" / "programs" / "swede-test-device"
SHIM = build_folder() / "guest" / "shim" / "libswede-shim.so"


def run(*command, options=("--driver", "none"), **more):
    """`swede run` of the command."""
    return subprocess.run([SWEDE, "run", *options, "--", *map(str, command)], capture_output=True,
                          text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
                          **more)


def compile_program(source, target, *flags):
    headers = subprocess.run(["pkg-config", "--cflags", "libdrm"], capture_output=True, text=True,
                             check=True).stdout.split()
    subprocess.run(["cc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", *headers,
                    f"-I{GUEST_PROGRAMS}", f"-I{REPOSITORY}/tests/programs", "-o", target, source,
                    "-pthread", "-ldrm", *flags], check=True)
    return target


@pytest.fixture(scope="session", name="programs")
def built_programs(tmp_path_factory):
    """The folder with shim_client and event_client, and with the guests' programs that need no screen."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("shim_client", "event_client"):
        compile_program(PROGRAMS / f"{name}.c", folder / name)
    for name in ("swede_features", "swede_blobs", "swede_fences"):
        compile_program(GUEST_PROGRAMS / f"{name}.c", folder / name)
    return folder
