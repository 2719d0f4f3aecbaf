# SPDX-License-Identifier: Apache-2.0
"""Archives that the kernel will unpack, judged by cpio; ELF facts, judged by the compiler."""

import os
import stat
import subprocess

import pytest

from elf import Elf
from initramfs import CpioWriter, TreePacker, overlay
from report import Failure


def unpack(data, folder):
    subprocess.run(["cpio", "--extract", "--make-directories", "--quiet", "--no-absolute-filenames"],
                   input=data, cwd=folder, check=True)


def test_overlay_is_what_cpio_unpacks(tmp_path):
    source = tmp_path / "program"
    source.write_bytes(b"\x7fELF" + bytes(range(256)) * 5)
    source.chmod(0o750)
    out = tmp_path / "out"
    out.mkdir()
    unpack(overlay({"/swede/bin/program": source}, {"/swede/run.sh": "echo å\n"}), out)
    program, script = out / "swede/bin/program", out / "swede/run.sh"
    assert program.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(program.stat().st_mode) == 0o750
    assert script.read_text() == "echo å\n"
    assert os.access(script, os.X_OK)


def test_archives_can_be_concatenated_at_any_length():
    for length in range(5):
        archive = CpioWriter()
        archive.file("f", b"x" * length)
        assert len(archive.to_bytes()) % 4 == 0


def test_folders_come_before_what_is_in_them():
    archive = CpioWriter()
    archive.file("/a/b/c", b"")
    names = subprocess.run(["cpio", "--list", "--quiet"], input=archive.to_bytes(),
                           capture_output=True, check=True).stdout.split()
    assert names == [b"a", b"a/b", b"a/b/c"]


@pytest.fixture(name="tree")
def _tree(tmp_path):
    """A tree with a program that needs libone, which needs libtwo; libone behind a link."""
    tree = tmp_path / "tree"
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    (tree / "usr/bin").mkdir()
    (tree / "lib").symlink_to("usr/lib")

    def compile_c(text, output, *options):
        subprocess.run(["gcc", "-x", "c", "-", "-x", "none", "-o", output, "-nostdlib", *options],
                       input=text.encode(), check=True)

    compile_c("int two(void) { return 2; }", libraries / "libtwo.so", "-shared",
              "-Wl,-soname,libtwo.so")
    compile_c("int two(void); int one(void) { return two(); }", libraries / "libone.so.1.5",
              "-shared", "-Wl,-soname,libone.so.1", "-L", libraries, "-ltwo")
    (libraries / "libone.so.1").symlink_to("libone.so.1.5")
    (tree / "usr/lib64").mkdir()
    (tree / "lib64").symlink_to("usr/lib64")
    (tree / "usr/lib64/ld-linux-x86-64.so.2").write_bytes(b"loader")
    compile_c("int one(void); void _start(void) { one(); }", tree / "usr/bin/program",
              libraries / "libone.so.1.5", "-Wl,-rpath-link," + str(libraries))
    return tree


def test_elf_needed_and_interpreter(tree):
    program = Elf((tree / "usr/bin/program").read_bytes())
    assert program.needed() == ["libone.so.1"]
    assert program.interpreter() == "/lib64/ld-linux-x86-64.so.2"


def test_libraries_follow_a_program_with_their_links(tree):
    archive = CpioWriter()
    TreePacker(tree, archive).add("/usr/bin/program")
    for path in ("usr/bin/program", "usr/lib64/ld-linux-x86-64.so.2",
                 "usr/lib/x86_64-linux-gnu/libone.so.1", "usr/lib/x86_64-linux-gnu/libone.so.1.5",
                 "usr/lib/x86_64-linux-gnu/libtwo.so"):
        assert path in archive


def test_what_a_tree_lacks_comes_from_the_tree_behind(tree, tmp_path):
    behind = tmp_path / "behind"
    libraries = "usr/lib/x86_64-linux-gnu"
    (behind / libraries).mkdir(parents=True)
    (tree / libraries / "libtwo.so").rename(behind / libraries / "libtwo.so")
    (behind / libraries / "libone.so.1.5").write_bytes(b"not the first")
    archive = CpioWriter()
    TreePacker(tree, archive, [behind]).add("/usr/bin/program")
    unpack(archive.to_bytes(), tmp_path)
    for folder, name in ((tree, "libone.so.1.5"), (behind, "libtwo.so")):
        packed = tmp_path / libraries / name
        assert packed.read_bytes() == (folder / libraries / name).read_bytes()


def test_missing_library_is_named(tree):
    (tree / "usr/lib/x86_64-linux-gnu/libtwo.so").unlink()
    with pytest.raises(Failure, match=r"libtwo\.so, needed by .*libone\.so\.1\.5"):
        TreePacker(tree, CpioWriter()).add("/usr/bin/program")


def test_missing_file_is_named(tree):
    with pytest.raises(Failure, match="/usr/bin/absent"):
        TreePacker(tree, CpioWriter()).add("/usr/bin/absent")
    with pytest.raises(Failure, match="/usr/bin/absent .*first, .*second"):
        TreePacker("/first", CpioWriter(), ["/second"]).add("/usr/bin/absent")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(64), b"#!/bin/sh\n"])
def test_not_an_elf_file_is_refused(data):
    with pytest.raises(ValueError):
        Elf(data)
