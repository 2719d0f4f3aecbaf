# SPDX-License-Identifier: Apache-2.0
"""cross-domain on the local socket, against a compositor's socket of the test's own: the list of cases.
test_local_cross_domain.py has what the door adds."""

import pathlib
import shutil
import tempfile

import pytest

from cross_domain_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import
from local_cross_domain import LocalDoor
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"
DEVICE_ARGUMENTS = ["--wayland-socket-path", str(SOCKET), "--max-host-memory", "16G"]


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(FOLDER)


@pytest.fixture
def door(device):
    made = LocalDoor(device.socket_path)
    yield made
    made.close()
