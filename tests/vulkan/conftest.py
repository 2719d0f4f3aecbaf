# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run Vulkan programs on this host without any VM."""

import shutil

import pytest

import lab_programs
from lab_programs import native_command, swede_command


@pytest.fixture(name="native")
def _native():
    """native(program, *arguments): its Answer on lavapipe."""
    return lambda *words, **options: lab_programs.run(native_command(*words), **options)


@pytest.fixture(name="swede")
def _swede():
    """swede(program, *arguments): its Answer on our device, whose renderer is on lavapipe."""
    def run(*words, options=(), **rest):
        return lab_programs.run(swede_command(*words, options=options), **rest)
    return run


@pytest.fixture(name="started")
def _started(tmp_path):
    """started(program, *arguments): starts it on our device; ended at the end of the test."""
    running = []

    def start(*words, options=(), environment=None):
        running.append(lab_programs.Running(swede_command(*words, options=options), tmp_path,
                                            environment))
        return running[-1]
    yield start
    for process in running:
        process.__exit__()


@pytest.fixture(scope="session", autouse=True)
def _tools():
    for tool in ("vulkaninfo", "vkcube", "Xvfb"):
        assert shutil.which(tool), f"{tool} is missing; run scripts/setup"
