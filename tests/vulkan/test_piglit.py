# SPDX-License-Identifier: Apache-2.0
"""Piglit's OpenGL tests on Zink: what passes natively on lavapipe has to pass on our device."""

import concurrent.futures
import os
import pathlib
import re

import pytest

from lab_programs import cached, gl_environment, native_gl_environment
from piglit_tests import PROGRAMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
# A result as programs give it, at the end of their output.
RESULT = re.compile(r'^PIGLIT: \{"result": "(\w+)" \}$', re.M)


def piglit_folder():
    return pathlib.Path(cached("piglit-tree")) / "usr/lib/x86_64-linux-gnu/piglit"


def environment_of_piglit(environment):
    folder = piglit_folder()
    libraries = [environment["LD_LIBRARY_PATH"], folder.parent, folder / "lib"]
    return environment | {"LD_LIBRARY_PATH": ":".join(map(str, libraries)),
                          "PIGLIT_SOURCE_DIR": str(folder), "PIGLIT_PLATFORM": "surfaceless_egl"}


def results(run, environment, commands):
    """{name: result}, or how the program ended without one."""
    def result(words):
        answer = run(str(piglit_folder() / "bin" / words[0]), *words[1:], "-auto", "-fbo",
                     environment=environment_of_piglit(environment))
        found = RESULT.findall(answer.output)
        return found[-1] if found else f"status {answer.status}: {answer.errors[-500:]}"
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(commands, pool.map(result, commands.values())))


def test_results_are_those_of_the_native_driver(native, swede):
    commands = {name: [name] for name in PROGRAMS}
    expected = results(native, native_gl_environment(), commands)
    passed = [name for name, result in expected.items() if result == "pass"]
    assert len(passed) > 0.9 * len(commands), expected  # a test may change with Mesa and Piglit
    found = results(swede, gl_environment(), commands)
    assert {name: found[name] for name in passed} == dict.fromkeys(passed, "pass")
