# SPDX-License-Identifier: Apache-2.0
"""The local socket on a real compositor: the tests of test_cross_domain_sway.py with a program's connection
in the place of a guest."""


import pytest

from local_cross_domain import LocalDoor
from test_cross_domain_sway import *  # pylint: disable=wildcard-import,unused-wildcard-import
from test_cross_domain_sway import LINK
from test_local import serves_next_client  # noqa: F401  pylint: disable=unused-import

TRANSPORT = "local"
DEVICE_PROGRAM = "tests/programs/swede-test-device"
DEVICE_ARGUMENTS = ["--wayland-socket-path", str(LINK)]


@pytest.fixture
def door(device, sway):  # pylint: disable=redefined-outer-name,unused-argument,function-redefined
    made = LocalDoor(device.socket_path)
    yield made
    made.close()
