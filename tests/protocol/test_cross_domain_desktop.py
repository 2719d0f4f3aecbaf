# SPDX-License-Identifier: Apache-2.0
"""Real compositors through the door vhost-user."""

import pathlib
import shutil
import tempfile

import pytest

import vhost_user_fixtures
from cross_domain_doors import ROOM, VhostUserDoor
from vfio_user_client import Ram
from vhost_user_fixtures import serves_next_client  # pylint: disable=unused-import
from wayland_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import

TRANSPORT = "vhost-user"
# A compositor's name is known only once it runs: the device gets a name that leads there.
LINK = pathlib.Path(tempfile.mkdtemp(prefix="swede-link-")) / "compositor"
DEVICE_ARGUMENTS = (*ROOM, "--display", "none", "--wayland-socket-path", str(LINK))


@pytest.fixture(scope="module", autouse=True)
def folder():
    yield
    shutil.rmtree(LINK.parent)


@pytest.fixture
def door(device):
    with vhost_user_fixtures.FrontEnd(device.socket_path, ram=Ram(128 << 20)) as front_end:
        front_end.give_backend_channel()
        yield VhostUserDoor(front_end.start(size=1024))
