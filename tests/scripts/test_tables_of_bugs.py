# SPDX-License-Identifier: Apache-2.0
"""Documents that say which test shows something name tests that are there."""

import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| .* \| `([\w.]+)` \|$", re.M)
LEAST = {"docs/c-library.md": 40, "docs/cross-domain.md": 20}


def names_of_tests(root):
    """Names of all tests of a tree: Suite.Name of GoogleTest, and test_name of pytest."""
    names = set()
    for path in (root / "tests" / "unit").rglob("*.cpp"):
        for suite, name in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", path.read_text(), re.M):
            names.add(f"{suite}.{name}")
    for path in (root / "tests" / "protocol").glob("test_*.py"):
        names.update(re.findall(r"^def (test_\w+)\(", path.read_text(), re.M))
    return names


def missing(document, root=REPOSITORY):
    """(how many tests the tables of a document name, those that are not there)"""
    named, there = ROW.findall((root / document).read_text()), names_of_tests(root)
    return len(named), [name for name in named if name not in there]


@pytest.mark.parametrize("document", LEAST)
def test_every_test_that_is_named_exists(document):
    count, absent = missing(document)
    assert not absent
    assert count >= LEAST[document]


def test_a_name_that_nobody_has_is_found(tmp_path):
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "tests" / "protocol").mkdir()
    (tmp_path / "tests" / "unit" / "a_test.cpp").write_text("TEST_F(Suite, Name) {\nTEST(Other,\n     Long) {\n")
    (tmp_path / "tests" / "protocol" / "test_a.py").write_text("def test_there(gpu):\n")
    (tmp_path / "table.md").write_text("| a | test |\n|---|---|\n| one | `Suite.Name` |\n| two | `Other.Long` |\n"
                                       "| three | `test_there` |\n| four | `test_gone` |\n| five | `Suite.Gone` |\n")
    assert missing("table.md", tmp_path) == (5, ["test_gone", "Suite.Gone"])
