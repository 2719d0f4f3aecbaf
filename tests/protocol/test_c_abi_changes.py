# SPDX-License-Identifier: Apache-2.0
"""The library has the interface that programs were built for: its debug information against what was
recorded, which is enough for a change that no program of ours would notice."""

import re
import subprocess

import pytest

import c_abi
from c_abi_record import record
from conftest import REPOSITORY

RECORDED = REPOSITORY / "src" / "transports" / "c_abi" / "librutabaga_gfx_ffi.abi"
ERROR, CHANGED, INCOMPATIBLE = 1, 4, 8  # bits of abidiff's exit status (its manual)


@pytest.fixture(name="now", scope="module")
def _now(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "now.abi"
    record(c_abi.library_path(), path)
    return path


def compare(recorded, now, *options):
    """abidiff's exit status and report: the library now, in place of what was recorded."""
    answer = subprocess.run(["abidiff", *options, str(recorded), str(now)], capture_output=True,
                            text=True, check=False)
    assert answer.returncode & ERROR == 0, answer.stdout + answer.stderr
    return answer.returncode, answer.stdout


def test_programs_that_were_built_before_still_fit(now):
    status, report = compare(RECORDED, now, "--no-added-syms")
    assert status == 0, f"{report}\nThis needs a new version of the symbols, or a new soname."


def test_what_was_added_is_recorded(now):
    status, report = compare(RECORDED, now)
    assert status == 0, f"{report}\nIf nothing but additions are meant: `ninja -C build c-library-abi`."


def test_structures_are_in_the_record():
    """Without debug information a comparison would be one of names."""
    text = RECORDED.read_text()
    structures = set(re.findall(r"class-decl name='(rutabaga_\w+)' size-in-bits", text))
    header = (REPOSITORY / "include" / "rutabaga_gfx" / "rutabaga_gfx_ffi.h").read_text()
    assert structures == set(re.findall(r"^struct (rutabaga_\w+) \{", header, re.M))
    assert len(structures) == 13
    assert "swede" not in re.sub(r"path='[^']*'", "", text)


def without(text, name):
    """The record of a library that has no such function."""
    text, symbols = re.subn(rf"^ *<elf-symbol name='{name}'.*\n", "", text, flags=re.M)
    text, functions = re.subn(rf"^ *<function-decl name='{name}'.*\n(?:.*\n)*?^ *</function-decl>\n", "",
                              text, count=1, flags=re.M)
    assert symbols == functions == 1
    return text


def renamed(text, name, other):
    return re.sub(rf"\b{name}\b", other, text)


def replaced(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


# What was recorded would have been, before such a change.
BROKEN = {
    "a function is gone": lambda text: renamed(text, "rutabaga_resource_unmap", "rutabaga_resource_gone"),
    "a structure grew": lambda text: replaced(
        text, "<class-decl name='rutabaga_fence' size-in-bits='192'",
        "<class-decl name='rutabaga_fence' size-in-bits='128'"),
    "a field moved": lambda text: re.sub(
        r"layout-offset-in-bits='64'>(\s*<var-decl name='handle_type')",
        r"layout-offset-in-bits='96'>\1", text),
    "a field has another type": lambda text: re.sub(
        r"(<var-decl name='blob_flags' type-id=')\w+'", r"\g<1>9c313c2d'", text),
    "a function takes another type": lambda text: re.sub(
        r"(<function-decl name='rutabaga_resource_unref'(?:.*\n){2}.*<parameter type-id=')\w+'",
        r"\g<1>9c313c2d'", text),
    "a function lost its old age": lambda text: replaced(
        text, "<elf-symbol name='rutabaga_init' version='RUTABAGA_0.1.2' is-default-version='no'",
        "<elf-symbol name='rutabaga_init' version='RUTABAGA_0.1.1' is-default-version='no'"),
    "the soname changed": lambda text: replaced(text, "soname='librutabaga_gfx_ffi.so.0'",
                                                "soname='librutabaga_gfx_ffi.so.1'"),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_break_is_found(change, now, tmp_path):
    text = RECORDED.read_text()
    changed = change(text)
    assert changed != text
    (tmp_path / "other.abi").write_text(changed)
    status, report = compare(tmp_path / "other.abi", now, "--no-added-syms")
    assert status & (CHANGED | INCOMPATIBLE), report


def test_an_addition_is_no_break(now, tmp_path):
    (tmp_path / "other.abi").write_text(without(RECORDED.read_text(), "rutabaga_resource_import"))
    assert compare(tmp_path / "other.abi", now, "--no-added-syms")[0] == 0
    status, report = compare(tmp_path / "other.abi", now)
    assert status == CHANGED and "rutabaga_resource_import" in report
