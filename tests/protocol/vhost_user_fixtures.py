# SPDX-License-Identifier: Apache-2.0
"""What the vhost-user test modules share: `from vhost_user_fixtures import *`."""

import pytest

from vhost_user_client import FrontEnd
from virtio_gpu_driver import Gpu

HOSTMEM = 256 << 20
DEVICE_ARGUMENTS = ("--hostmem", "256M", "--display", "none")

__all__ = ["HOSTMEM", "DEVICE_ARGUMENTS", "serves_next_client", "front_end", "running", "gpu"]


def serves_next_client(device):
    """A whole client: handshake, driver, one command, an interrupt."""
    with FrontEnd(device.socket_path) as front_end:
        front_end.start()
        assert Gpu(front_end).edid()[:8] == b"\0\xff\xff\xff\xff\xff\xff\0"


@pytest.fixture
def front_end(device):
    """Connected, features negotiated, nothing else."""
    with FrontEnd(device.socket_path) as connected:
        yield connected


@pytest.fixture
def running(front_end):  # pylint: disable=redefined-outer-name
    """A front end whose driver runs."""
    return front_end.start()


@pytest.fixture
def gpu(running):  # pylint: disable=redefined-outer-name
    return Gpu(running)
