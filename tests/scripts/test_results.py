# SPDX-License-Identifier: Apache-2.0
"""How the outcome of test programs is counted: nothing may turn into a pass."""

import pytest

from results import Results, read_junit

GOOGLE_TEST = """<?xml version="1.0"?>
<testsuites tests="4"><testsuite name="Ring">
<testcase name="Passes" status="run" result="completed" classname="Ring" />
<testcase name="Fails" status="run" result="completed" classname="Ring">
<failure message="../ring_test.cpp:12&#x0A;Expected equality" type=""><![CDATA[x]]></failure></testcase>
<testcase name="Skips" status="run" result="skipped" classname="Ring">
<skipped message="../ring_test.cpp:20&#x0A;no udmabuf" /></testcase>
<testcase name="DISABLED_Later" status="notrun" result="suppressed" classname="Ring" />
</testsuite></testsuites>"""

PYTEST = """<?xml version="1.0"?>
<testsuites><testsuite name="pytest">
<testcase classname="t" name="good" />
<testcase classname="t" name="bad"><failure message="assert 1 == 2">trace</failure></testcase>
<testcase classname="t" name="broken"><error message="fixture failed">trace</error></testcase>
<testcase classname="t" name="skipped"><skipped message="no KVM" /></testcase>
</testsuite></testsuites>"""


def read(tmp_path, text):
    path = tmp_path / "report.xml"
    path.write_text(text)
    return read_junit(path, "part")


def test_google_test_cases_are_counted_one_by_one(tmp_path):
    results = read(tmp_path, GOOGLE_TEST)
    assert results.summary() == "1 passed, 1 failed, 2 skipped"
    assert results.failed == ["part: Ring.Fails: ../ring_test.cpp:12 Expected equality"]
    assert results.skipped == [("part: Ring.Skips", "../ring_test.cpp:20 no udmabuf"),
                               ("part: Ring.DISABLED_Later", "disabled in the source")]


def test_pytest_errors_are_failures(tmp_path):
    results = read(tmp_path, PYTEST)
    assert results.summary() == "1 passed, 2 failed, 1 skipped"
    assert "part: t.broken: fixture failed" in results.failed


def test_what_a_test_measured_is_kept_even_if_it_fails(tmp_path):
    case = ('<testcase classname="t" name="soak"><properties><property name="grown" value="2 MB" />'
            '</properties><failure message="too much">trace</failure></testcase>')
    results = read(tmp_path, f"<testsuites><testsuite>{case}</testsuite></testsuites>")
    assert results.figures == {"grown": "2 MB"}
    assert results.summary() == "0 passed, 1 failed, 0 skipped"


@pytest.mark.parametrize("text", ["", "<testsuites><testsuite>", "passed"])
def test_broken_report_is_an_error(tmp_path, text):
    with pytest.raises(SyntaxError):
        read(tmp_path, text)


def test_adding_up_loses_nothing():
    total = Results()
    total += Results(passed=2, failed=["a"], skipped=[("b", "why")])
    total += Results(passed=3, failed=["c"])
    assert total.summary() == "5 passed, 2 failed, 1 skipped"
    assert total.count() == 8
