# SPDX-License-Identifier: Apache-2.0
"""The C library as `meson install` leaves it, in a folder of its own: `from c_abi_installed import
installed`."""

import os
import subprocess

import pytest

from conftest import build_folder

__all__ = ["environment", "installed", "library_folder", "prefix", "run"]


def run(*command, **more):
    """What a program wrote; it must end well."""
    answer = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                            check=False, **more)
    assert answer.returncode == 0, f"{command}: {answer.stdout}{answer.stderr}"
    return answer.stdout


@pytest.fixture(name="installed", scope="module")
def installed(tmp_path_factory):
    """The folder that takes the place of `/`: the library, and what programs are built with."""
    root = tmp_path_factory.mktemp("installed")
    run("/usr/bin/meson", "install", "-C", build_folder(), "--no-rebuild", "--destdir", root,
        "--tags", "c-library,devel")
    return root


def library_folder(root):
    found = list(root.rglob("librutabaga_gfx_ffi.so.0"))
    assert len(found) == 1
    return found[0].parent


def prefix(root):
    """What stands for /usr in there."""
    found = list(root.rglob("include/rutabaga_gfx"))
    assert len(found) == 1
    return found[0].parent.parent


def environment(root):
    """In which pkg-config and CMake find the library, and so do programs when they start."""
    libraries = library_folder(root)
    return {**os.environ, "PKG_CONFIG_PATH": str(libraries / "pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": str(root), "CMAKE_PREFIX_PATH": str(prefix(root)),
            "LD_LIBRARY_PATH": str(libraries)}
