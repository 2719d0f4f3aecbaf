# SPDX-License-Identifier: Apache-2.0
"""The cases of cross-domain of tests/protocol once more, from a program in a guest: its kernel makes the
contexts, the fences, the blobs and their mappings. One guest for all of them."""

import pathlib
import shutil
import sys
import tempfile

import pytest

from conftest import Machine
from lab import Door, wait_until

sys.path.append(str(pathlib.Path(__file__).parents[1] / "protocol"))
# pylint: disable=wrong-import-position
pytest.register_assert_rewrite("cross_domain_cases", "wayland_cases")
from channel_door import GuestDoor
from cross_domain_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import
from wayland_cases import *       # pylint: disable=wildcard-import,unused-wildcard-import

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
# The scripted compositor's, and later a link to the real ones'.
SOCKET = LINK = FOLDER / "wayland-0"


@pytest.fixture(scope="module")
def machine(guest_programs, tmp_path_factory):
    """One guest for all cases, whose program takes orders."""
    made = Machine(Door.VHOST_USER, tmp_path_factory.mktemp("channel"), guest_programs, hostmem="8G",
                   arguments=["--max-host-memory", "16G", "--wayland-socket-path", str(SOCKET)])
    try:
        made.start()
        made.guest.start_orders("swede_channel")
        yield made
    finally:
        made.stop()
        shutil.rmtree(FOLDER)


def census(machine):  # pylint: disable=redefined-outer-name
    objects = machine.info()["census"]
    del objects["commands"]  # so many there have been
    return objects | machine.device.census()


@pytest.fixture
def door(machine):  # pylint: disable=redefined-outer-name
    before = census(machine)
    made = GuestDoor(machine.guest)
    yield made
    for channel in made.channels:
        if channel.is_open:
            channel.destroy()
    wait_until(lambda: census(machine) == before, 60, f"the objects of before ({before})")
