# SPDX-License-Identifier: Apache-2.0
"""What a run takes from the sources."""

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
