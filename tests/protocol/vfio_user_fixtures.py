# SPDX-License-Identifier: Apache-2.0
"""What the vfio-user test modules share: `from vfio_user_fixtures import *`."""

import pytest

from vfio_user_client import BAR2, CONFIG, VERSION_1, Client, Function
from virtio_gpu_driver import FEATURES, Gpu

TRANSPORT = "vfio-user"
HOSTMEM = 256 << 20
DEVICE_ARGUMENTS = ("--hostmem", "256M", "--display", "none")

__all__ = ["TRANSPORT", "HOSTMEM", "DEVICE_ARGUMENTS", "serves_next_client", "client", "function",
           "gpu"]


def serves_next_client(device):
    """A whole client: handshake, driver, one command, an interrupt."""
    with Function(device.socket_path) as function:
        function.start()
        assert Gpu(function).display_info()[0][4] == 1


@pytest.fixture
def client(device):
    with Client(device.socket_path) as connected:
        assert connected.get("I", CONFIG, 0) == 0x10501af4
        assert connected.get("B", BAR2, 0x14) == 0
        yield connected


@pytest.fixture
def function(device):
    with Function(device.socket_path) as connected:
        yield connected


@pytest.fixture
def gpu(function):
    return Gpu(function.start(VERSION_1 | FEATURES))
