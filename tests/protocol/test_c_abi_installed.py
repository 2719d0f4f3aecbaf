# SPDX-License-Identifier: Apache-2.0
"""How programs find the C library once it is installed: by pkg-config, Meson and CMake, from folders that
know nothing of this tree but examples/vmm.c."""

import os
import re
import shutil
import subprocess

import pytest

from c_abi_installed import environment, installed, library_folder, prefix, run  # pylint: disable=unused-import
from conftest import REPOSITORY

NODE = "rutabaga_init@RUTABAGA_0.1.6"

# Draws nothing: the example in C does. It ends well if header and library are found and fit.
CPP_PROGRAM = r"""
#include <rutabaga_gfx/rutabaga_gfx_ffi.hpp>
int main() {
    int reached = 0;
    auto gpu = rutabaga_gfx::Gpu::create({.on_fence = [&](const rutabaga_fence&) { ++reached; }});
    if (!gpu || !gpu->create_2d(1, 1, 4, 4) || !gpu->create_fence({RUTABAGA_FLAG_FENCE, 1, 0, 0}))
        return 1;
    return reached == 1 ? 0 : 2;
}
"""

MESON_PROJECT = """
project('user', 'c', 'cpp', default_options: ['cpp_std=c++20', 'werror=true', 'warning_level=3'])
gpu = dependency('rutabaga_gfx_ffi', version: '>=0.1.2')
executable('vmm', 'vmm.c', dependencies: gpu)
executable('owners', 'owners.cpp', dependencies: gpu)
"""

CMAKE_PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 20)
add_compile_options(-Wall -Wextra -Werror)
find_package(rutabaga_gfx_ffi 0.1.2 CONFIG REQUIRED)
find_package(rutabaga_gfx_ffi CONFIG REQUIRED)  # a second time, as projects of several parts do
add_executable(vmm vmm.c)
target_link_libraries(vmm PRIVATE rutabaga_gfx_ffi::rutabaga_gfx_ffi)
add_executable(owners owners.cpp)
target_link_libraries(owners PRIVATE rutabaga_gfx_ffi::rutabaga_gfx_ffi)
"""

CMAKE_PROJECT_BY_PKG_CONFIG = """
cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GPU REQUIRED IMPORTED_TARGET rutabaga_gfx_ffi)
add_executable(vmm vmm.c)
target_link_libraries(vmm PRIVATE PkgConfig::GPU)
add_executable(owners owners.cpp)
target_link_libraries(owners PRIVATE PkgConfig::GPU)
"""


def make_project(folder, name, text):
    shutil.copy(REPOSITORY / "examples" / "vmm.c", folder / "vmm.c")
    (folder / "owners.cpp").write_text(CPP_PROGRAM)
    (folder / name).write_text(text)
    return folder


def check_programs(folder, root):
    """They use the library of the folder, by the name that stays, and in its newest age."""
    for program in (folder / "vmm", folder / "owners"):
        needed = re.findall(r"NEEDED.*\[(librutabaga\S+)\]", run("readelf", "-d", program))
        assert needed == ["librutabaga_gfx_ffi.so.0"]
        assert NODE in run("nm", "-D", program)
        found = run("ldd", program, env=environment(root))
        assert str(library_folder(root) / "librutabaga_gfx_ffi.so.0") in found
    run(folder / "owners", env=environment(root))
    picture = folder / "picture.ppm"
    run(folder / "vmm", picture, env=environment(root))
    expected = b"".join(bytes([5 * y, 4 * x, 128]) for y in range(48) for x in range(64))
    assert picture.read_bytes() == b"P6\n64 48\n255\n" + expected


def test_what_is_installed(installed):
    libraries = library_folder(installed)
    library = libraries / "librutabaga_gfx_ffi.so.0.1.6"
    assert library.is_file() and not library.is_symlink()
    assert os.readlink(libraries / "librutabaga_gfx_ffi.so.0") == "librutabaga_gfx_ffi.so.0.1.6"
    assert (libraries / "librutabaga_gfx_ffi.so").is_symlink()
    assert (libraries / "librutabaga_gfx_ffi.so").resolve() == library
    others = {str(path.relative_to(libraries)) for path in libraries.rglob("*")
              if path.is_file() and not path.name.startswith("librutabaga_gfx_ffi")}
    assert others == {"pkgconfig/rutabaga_gfx_ffi.pc",
                      "cmake/rutabaga_gfx_ffi/rutabaga_gfx_ffi-config.cmake",
                      "cmake/rutabaga_gfx_ffi/rutabaga_gfx_ffi-config-version.cmake"}
    headers = {str(path.relative_to(prefix(installed) / "include"))
               for path in (prefix(installed) / "include").rglob("*") if path.is_file()}
    assert headers == {"rutabaga_gfx/rutabaga_gfx_ffi.h", "rutabaga_gfx/rutabaga_gfx_ffi.hpp"}
    elsewhere = [path for path in installed.rglob("*") if path.is_file()
                 and libraries not in path.parents and "include" not in path.parts]
    assert not elsewhere, "the tags install what no user of the library asked for"


def test_pkg_config(installed, tmp_path):
    folder = make_project(tmp_path, "owners.txt", "")
    assert run("pkg-config", "--modversion", "rutabaga_gfx_ffi",
               env=environment(installed)).split() == ["0.1.6"]
    words = run("pkg-config", "--cflags", "--libs", "rutabaga_gfx_ffi",
                env=environment(installed)).split()
    run("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", folder / "vmm.c", "-o", folder / "vmm", *words)
    run("g++", "-std=c++20", folder / "owners.cpp", "-o", folder / "owners", *words)
    check_programs(folder, installed)


def test_meson_project(installed, tmp_path):
    folder, build = make_project(tmp_path, "meson.build", MESON_PROJECT), tmp_path / "build"
    run("/usr/bin/meson", "setup", build, folder, env=environment(installed))
    run("ninja", "-C", build, env=environment(installed))
    check_programs(build, installed)


@pytest.mark.parametrize("text", [CMAKE_PROJECT, CMAKE_PROJECT_BY_PKG_CONFIG],
                         ids=["find_package", "pkg_check_modules"])
def test_cmake_project(installed, tmp_path, text):
    folder, build = make_project(tmp_path, "CMakeLists.txt", text), tmp_path / "build"
    run("cmake", "-S", folder, "-B", build, "-G", "Ninja", env=environment(installed))
    run("cmake", "--build", build, env=environment(installed))
    check_programs(build, installed)


def test_cmake_project_of_a_tree_that_was_moved(installed, tmp_path):
    """Packages are made in one place and used in another."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(installed, moved, symlinks=True)
    folder, build = tmp_path / "project", tmp_path / "build"
    folder.mkdir()
    make_project(folder, "CMakeLists.txt", CMAKE_PROJECT)
    run("cmake", "-S", folder, "-B", build, "-G", "Ninja", env=environment(moved))
    run("cmake", "--build", build, env=environment(moved))
    check_programs(build, moved)


def configure(folder, request, variables):
    """The exit status and output of a project that asks for the package so."""
    (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.18)\n"
                                           "project(user LANGUAGES C)\n"
                                           f"find_package({request} CONFIG REQUIRED)\n")
    shutil.rmtree(folder / "build", ignore_errors=True)
    answer = subprocess.run(["cmake", "-S", str(folder), "-B", str(folder / "build"), "-G", "Ninja"],
                            env=variables, capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout + answer.stderr


def test_cmake_knows_the_version(installed, tmp_path):
    for good in ("", " 0.1", " 0.1.2", " 0.1.6", " 0.1.6 EXACT"):
        status, output = configure(tmp_path, f"rutabaga_gfx_ffi{good}", environment(installed))
        assert status == 0, output
    for bad in (" 0.1.7", " 0.2", " 1.0", " 0.1.5 EXACT"):
        status, output = configure(tmp_path, f"rutabaga_gfx_ffi{bad}", environment(installed))
        assert status != 0 and "0.1.6" in output, bad


def test_cmake_says_that_the_library_is_missing(installed, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(installed, broken, symlinks=True)
    variables = environment(broken)
    (library_folder(broken) / "librutabaga_gfx_ffi.so.0.1.6").unlink()
    folder = tmp_path / "project"
    folder.mkdir()
    status, output = configure(folder, "rutabaga_gfx_ffi", variables)
    assert status != 0 and "There is no" in output
