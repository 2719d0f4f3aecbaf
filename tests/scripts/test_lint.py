# SPDX-License-Identifier: Apache-2.0
"""What lint refuses, in small trees of its own."""

import pathlib
import subprocess

import pytest

import lint

LICENCE = f"// {lint.SPDX}\n"


@pytest.fixture
def tree(tmp_path):
    """Writes files and returns the violations that a check finds in them."""
    def write(check, **files):
        files = {name.replace("__", "/"): text for name, text in files.items()}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        paths = [pathlib.PurePath(name) for name in files if not name.endswith("meson.build")]
        return check(tmp_path, paths)
    return write


ORDER = {"src__meson.build": "subdir('base')\nsubdir('middle')\nsubdir('top')\n",
         "src__middle__meson.build": "subdir('left')\nsubdir('right')\n"}


@pytest.mark.parametrize("place, included", [
    ("base", "middle/a.h"), ("middle", "top/a.h"), ("wire", "base/a.h"),
    ("middle", "middle/left/a.h"), ("middle/left", "middle/right/a.h"), ("middle/left", "top/a.h"),
    ("base", "a.h"), ("base", "nowhere/a.h"), ("unlisted", "base/a.h")])
def test_include_that_points_upwards_is_refused(tree, place, included):
    name = f"src__{place.replace('/', '__')}__x.cpp"
    assert len(tree(lint.check_includes, **ORDER, **{name: f'#include "{included}"\n'})) == 1


@pytest.mark.parametrize("place, included", [
    ("base", "base/a.h"), ("base", "wire/a.h"), ("top", "base/a.h"), ("middle/right", "base/a.h"),
    ("middle/right", "middle/left/a.h"), ("middle/left", "middle/a.h"), ("top", "middle/left/a.h")])
def test_include_that_points_downwards_is_accepted(tree, place, included):
    name = f"src__{place.replace('/', '__')}__x.cpp"
    text = f'// #include "top/commented.h"\n#include <vector>\n  #  include "{included}"\n'
    assert tree(lint.check_includes, **ORDER, **{name: text}) == []


@pytest.mark.parametrize("text", ["", "int a;\n", f"\n{LICENCE}",
                                  "// SPDX-License-Identifier: MIT\n",
                                  f"#!/bin/sh\necho\n# {lint.SPDX}\n"])
@pytest.mark.parametrize("name", ["a.cpp", "a.h", "a.py", "meson.build.py"])
def test_source_without_licence_line_is_refused(tree, name, text):
    assert tree(lint.check_licence, **{name: text}) != []


def test_program_without_suffix_needs_the_licence_too(tree):
    assert tree(lint.check_licence, tool="#!/bin/sh\necho\n") != []
    assert tree(lint.check_licence, tool=f"#!/bin/sh\n# {lint.SPDX}\n") == []


def test_what_is_no_source_needs_no_licence(tree):
    assert tree(lint.check_licence, **{"a.md": "text", "a.png": "x", "LICENSE": "text"}) == []


def test_length_limit_is_exact(tree):
    assert tree(lint.check_length, **{"a.cpp": "x\n" * lint.MAX_LINES}) == []
    assert tree(lint.check_length, **{"a.cpp": "x\n" * (lint.MAX_LINES + 1)}) != []


def test_folder_of_sources_needs_a_readme(tree):
    files = {"src__base__a.h": "", "src__top__x__a.cpp": "", "src__top__x__README.md": ""}
    assert tree(lint.check_readmes, **files) == ["src/base: has no README.md"]


def test_form_is_told_and_nothing_is_changed(tree, tmp_path):
    ugly = "int  f( ) {return 1 ;}\n"
    (broken,) = tree(lint.check_form, **{"ugly.cpp": ugly, "fine.cpp": "int f();\n", "a.md": ugly})
    assert broken.startswith("ugly.cpp: ")
    assert (tmp_path / "ugly.cpp").read_text() == ugly


def test_ignored_files_are_not_looked_at(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/build/\n")
    (tmp_path / "build").mkdir()
    for name in ("build/a.cpp", "b.cpp"):
        (tmp_path / name).write_text("")
    assert pathlib.PurePath("b.cpp") in lint.tree_files(tmp_path)
    assert pathlib.PurePath("build/a.cpp") not in lint.tree_files(tmp_path)
