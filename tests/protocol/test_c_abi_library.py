# SPDX-License-Identifier: Apache-2.0
"""The library as a file: its names and their ages, and what programs old and new find in it."""

import os
import pathlib
import re

import pytest

import c_abi
from c_abi_installed import installed, library_folder, run  # pylint: disable=unused-import
from conftest import REPOSITORY

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = REPOSITORY / "include"
OLD_NODE = "RUTABAGA_0.1.2"
NEW_NODE = "RUTABAGA_0.1.6"
TWO_AGES = {"rutabaga_init", "rutabaga_submit_command"}


def exported():
    """(name, node, is the one that linkers take) of all that the library defines."""
    names = set()
    for line in run("nm", "-D", "--defined-only", c_abi.library_path()).splitlines():
        _, kind, name = line.split()
        if kind == "A":  # the nodes themselves
            continue
        plain, at, node = name.partition("@")
        names.add((plain, node.lstrip("@"), node.startswith("@") if at else False))
    return names


def test_exports_the_published_functions_and_nothing_else():
    functions = {f"rutabaga_{name}" for name in c_abi.FUNCTIONS}
    assert len(functions) == 26
    assert {name for name, _, _ in exported()} == functions


def test_functions_have_the_age_of_the_programs_that_they_are_for():
    expected = {(f"rutabaga_{name}", OLD_NODE, f"rutabaga_{name}" not in TWO_AGES)
                for name in c_abi.FUNCTIONS}
    expected |= {(name, NEW_NODE, True) for name in TWO_AGES}
    assert exported() == expected


def test_oldest_node_is_the_first():
    # A program without versions takes the first one that the library defines.
    text = run("readelf", "--version-info", "--wide", c_abi.library_path())
    definitions = text[text.index("Version definition section"):]
    order = re.findall(r"Name: (RUTABAGA_\S+)", definitions)
    assert order[:2] == [OLD_NODE, NEW_NODE]


def test_soname_links_and_needs():
    dynamic = run("readelf", "-d", c_abi.library_path())
    assert re.search(r"SONAME.*\[librutabaga_gfx_ffi\.so\.0\]", dynamic)
    assert "NODELETE" in dynamic
    assert not re.search(r"R(UN)?PATH", dynamic)
    assert "NOW" in dynamic
    needed = re.findall(r"NEEDED.*\[(\S+)\]", dynamic)
    assert not [name for name in needed if "swede" in name or "vulkan" in name], needed
    plain = c_abi.library_path().parent / "librutabaga_gfx_ffi.so"
    assert plain.resolve() == c_abi.library_path().resolve()


def test_loads_and_serves_without_a_vulkan_loader(tmp_path):
    (tmp_path / "libvulkan.so.1").write_bytes(b"none")  # found first, and refused
    script = ("import ctypes, c_abi\n"
              "from c_abi import U32, Instance\n"
              "with Instance(c_abi.load(), capset_mask=1 << 3 | 1 << 5) as instance:\n"
              "    count = U32()\n"
              "    assert instance.get_num_capsets(ctypes.byref(count)) == 0\n"
              "    print(count.value, instance.messages)\n")
    said = run("/usr/bin/python3", "-c", script, cwd=HERE,
               env=dict(os.environ, LD_LIBRARY_PATH=str(tmp_path)))
    assert said.startswith("1 "), said
    assert "Guests get no Vulkan: There is no Vulkan loader (libvulkan.so.1)." in said


@pytest.mark.parametrize("compiler", [("gcc", "-std=c11", "-xc"), ("g++", "-std=c++11", "-xc++"),
                                      ("clang-19", "-std=c11", "-xc"),
                                      ("clang++-19", "-std=c++17", "-xc++")])
def test_header_has_the_published_layouts(compiler):
    run(*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{INCLUDE}",
        HERE / "c_abi_layout.c")


@pytest.mark.parametrize("unstable", [[], ["-DRUTABAGA_GFX_FFI_UNSTABLE"]])
@pytest.mark.parametrize("standard", ["c++20", "c++23"])
@pytest.mark.parametrize("compiler", [["g++"], ["clang++-19"], ["g++", "-fno-exceptions", "-fno-rtti"]])
def test_header_for_cpp_needs_nothing_of_ours(compiler, standard, unstable, tmp_path):
    """And no warning that a careful program asks for."""
    source = tmp_path / "program.cpp"
    source.write_text("#include <rutabaga_gfx/rutabaga_gfx_ffi.hpp>\n"
                      "int main() {\n"
                      "    auto gpu = rutabaga_gfx::Gpu::create(\n"
                      "        {.on_fence = [](const rutabaga_fence&) {}});\n"
                      "    if (!gpu) return gpu.error().value();\n"
                      "    return gpu->create_2d(1, 1, 640, 480) && gpu->finish() ? 0 : 1;\n"
                      "}\n")
    run(*compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion",
        "-Werror", *unstable, "-fsyntax-only", f"-I{INCLUDE}", source)


def test_header_hides_what_is_unstable(tmp_path):
    source = tmp_path / "stable.c"
    source.write_text("#include <rutabaga_gfx/rutabaga_gfx_ffi.h>\n"
                      "int rutabaga_snapshot(void);\n"  # another one than the header's
                      "struct rutabaga_command c = {._reserved_1 = 0, ._reserved_2 = 0};\n")
    run("gcc", "-std=c11", "-Werror", "-fsyntax-only", f"-I{INCLUDE}", source)


# A caller of the first releases: its builder has 48 bytes, and the page behind it cannot be read.
OLD_CALLER = r"""
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
struct builder { uint64_t user, mask, wsi; void (*fence)(uint64_t, const void *); void *debug, *channels; };
struct command { uint32_t ctx_id, cmd_size; uint8_t *cmd; };
int rutabaga_init(const struct builder *builder, void **ptr);
int rutabaga_submit_command(void *ptr, struct command *command);
int rutabaga_finish(void **ptr);
static void reached(uint64_t user, const void *fence) { (void)user; (void)fence; }
int main(void)
{
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct builder builder = {0, 0, 1, reached, 0, 0};
    struct command command = {1, 0, 0};
    void *gpu = 0;
    mprotect(pages + 4096, 4096, PROT_NONE);
    memcpy(pages + 4096 - sizeof(builder), &builder, sizeof(builder));
    if (rutabaga_init((void *)(pages + 4096 - sizeof(builder)), &gpu) != 0) return 1;
    memcpy(pages + 4096 - sizeof(command), &command, sizeof(command));
    if (rutabaga_submit_command(gpu, (void *)(pages + 4096 - sizeof(command))) != -2) return 2;
    return rutabaga_finish(&gpu) == 0 ? 0 : 3;
}
"""


def test_program_of_an_unversioned_library_gets_the_old_functions(installed, tmp_path):
    """Linked against a library as rutabaga_gfx builds it, started with ours."""
    (tmp_path / "stub.c").write_text("int rutabaga_init(void){return 1;}"
                                     "int rutabaga_submit_command(void){return 1;}"
                                     "int rutabaga_finish(void){return 1;}")
    (tmp_path / "old.c").write_text(OLD_CALLER)
    run("gcc", "-shared", "-fPIC", "-Wl,-soname,librutabaga_gfx_ffi.so.0", tmp_path / "stub.c", "-o",
        tmp_path / "librutabaga_gfx_ffi.so")
    run("gcc", tmp_path / "old.c", "-o", tmp_path / "old", f"-L{tmp_path}", "-lrutabaga_gfx_ffi")
    run(tmp_path / "old", env={**os.environ, "LD_LIBRARY_PATH": str(library_folder(installed))})
