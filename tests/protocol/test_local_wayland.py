# SPDX-License-Identifier: Apache-2.0
"""Real compositors through the local socket: each client is a program's connection of its own."""

import pathlib
import shutil
import tempfile

import pytest

from local_cross_domain import LocalDoor
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import
from wayland_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
LINK = pathlib.Path(tempfile.mkdtemp(prefix="swede-link-")) / "compositor"
DEVICE_ARGUMENTS = ["--wayland-socket-path", str(LINK)]


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(LINK.parent)


@pytest.fixture
def door(device):
    made = LocalDoor(device.socket_path)
    yield made
    made.close()
