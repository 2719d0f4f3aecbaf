# SPDX-License-Identifier: Apache-2.0
"""Counts what passed, failed and was skipped, out of the JUnit files of GoogleTest and pytest."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree


@dataclasses.dataclass
class Results:
    """Outcome of one part, or of many added up. Names lead with the part they belong to."""

    passed: int = 0
    failed: list = dataclasses.field(default_factory=list)   # sentences
    skipped: list = dataclasses.field(default_factory=list)  # (name, reason)
    figures: dict = dataclasses.field(default_factory=dict)  # name -> what was measured

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.figures.update(other.figures)
        return self

    def count(self):
        return self.passed + len(self.failed) + len(self.skipped)

    def summary(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def _reason(element):
    text = element.get("message") or element.text or ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    # GoogleTest's first line says only where
    is_place = re.fullmatch(r"\S+:\d+", lines[0])
    return " ".join(lines[:2]) if is_place else lines[0]


def read_junit(path, part):
    """Results of one JUnit file; `part` leads the names."""
    results = Results()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{part}: {case.get('classname', '')}.{case.get('name')}"
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        if bad is not None:
            results.failed.append(f"{name}: {_reason(bad)}")
        elif skipped is not None:
            results.skipped.append((name, _reason(skipped)))
        elif case.get("status") == "notrun":
            results.skipped.append((name, "disabled in the source"))
        else:
            results.passed += 1
        # pytest's record_property: what a test measured.
        for entry in case.iter("property"):
            results.figures[entry.get("name")] = entry.get("value")
    return results
