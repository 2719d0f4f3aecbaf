# SPDX-License-Identifier: Apache-2.0
"""What a run takes from the sources, and how it runs them."""

import pathlib
import shutil
import tempfile

import build
import pytest
import test_parts


def test_parsers_may_be_named_anywhere_in_a_comment_and_over_lines():
    source = ("// A hostile peer. Parsers:\n// src/a/b.cpp src/a/c.h\n// src/d.cpp\n#include <a>\n"
              "// Parsers: src/e.cpp\n// src.\nint src/f.cpp;\n")
    assert test_parts.parsers_named_in(source) == ["src/a/b.cpp", "src/a/c.h", "src/d.cpp",
                                                   "src/e.cpp"]


def test_source_that_names_none_has_none():
    assert test_parts.parsers_named_in("// Parsers: none\n// src/a.cpp is not meant\n") == []


def test_each_fuzz_target_of_the_tree_names_parsers_that_exist():
    sources = sorted(test_parts.FUZZ_SOURCES.glob("*_fuzzer.cpp"))
    assert sources
    for source in sources:
        parsers = test_parts.parsers_named_in(source.read_text())
        assert parsers, source
        assert [path for path in parsers if not (test_parts.REPOSITORY / path).is_file()] == []


BINDS_SOCKETS = """
import pathlib, socket, tempfile
def test_with_a_name_that_pytest_cuts_at_thirty_letters(tmp_path):
    for folder in (tmp_path, pathlib.Path(tempfile.mkdtemp())):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "a_name_of_twenty.sock"))
    (pathlib.Path(__file__).parent / "ran").write_text(str(tmp_path))
    assert RESULT
"""


@pytest.fixture
def deep_clone(tmp_path, monkeypatch):
    """A repository and a TMPDIR whose paths alone are too long for a socket."""
    root = tmp_path / ("d" * 120)
    (root / "tests" / "sockets").mkdir(parents=True)
    monkeypatch.setattr(test_parts, "REPOSITORY", root)
    monkeypatch.setattr(test_parts, "OUTPUT", root / "out")
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    return root


def run_in(root, result):
    """What a run of one test with that result says, and the folder that it had."""
    (root / "tests" / "sockets" / "test_binds.py").write_text(BINDS_SOCKETS.replace("RESULT", result))
    results = test_parts.python_tests("sockets", build.RELEASE)
    return results, pathlib.Path((root / "tests" / "sockets" / "ran").read_text())


def test_tests_can_bind_sockets_in_a_deep_clone(deep_clone):
    results, folder = run_in(deep_clone, "True")
    assert (results.passed, results.failed) == (1, [])
    assert not folder.parent.parent.exists()


def test_what_a_failed_test_made_is_kept(deep_clone):
    results, folder = run_in(deep_clone, "False")
    assert (results.passed, len(results.failed)) == (0, 1)
    assert (folder / "a_name_of_twenty.sock").exists()
    shutil.rmtree(folder.parent.parent)
