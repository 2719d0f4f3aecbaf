# SPDX-License-Identifier: Apache-2.0
"""The cases of tests/protocol/cross_domain_cases.py once more, from a program in a guest: its kernel makes
the contexts, the fences, the blobs and their mappings."""

import pathlib
import shutil
import sys
import tempfile

import pytest

from conftest import Machine
from lab import Door, wait_until

sys.path.append(str(pathlib.Path(__file__).parents[1] / "protocol"))
# pylint: disable=wrong-import-position
pytest.register_assert_rewrite("cross_domain_cases")
from cross_domain_cases import *  # pylint: disable=wildcard-import,unused-wildcard-import
from cross_domain_client import PAGE, CrossDomain, send_command
from virtio_gpu_driver import OK_NODATA

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="swede-compositor-"))
SOCKET = FOLDER / "wayland-0"


class GuestContext(CrossDomain):
    """A context of swede_channel. A program in a guest is told of no command's answer."""

    def __init__(self, guest):  # pylint: disable=super-init-not-called
        self.guest = guest
        self.context = None
        self.is_open = False
        self.query_at, self.channel_at = "query", "message"

    def order(self, name, *words):
        return self.guest.order(" ".join(map(str, (name, self.context, *words))))

    def init(self, **_):
        if self.context is None:
            self.context = int(self.guest.order("open"))
            self.is_open = True
        else:
            self.order("init")
        return OK_NODATA

    def submit(self, data, **_):
        self.order("submit", 1, data.hex())
        return OK_NODATA

    def flood(self, data, count):
        self.order("submit", count, send_command(data).hex())

    def read_ring(self, at, size):
        answer = self.order("message") if at == self.channel_at else self.order("query", size)
        return bytes.fromhex(answer).ljust(size, b"\0")

    def ask(self):
        self.order("ask")

    def is_reached(self, _):
        return self.order("reached") == "1"

    def wait(self, _):
        self.order("wait")

    def receive(self):
        self.wait(self.ask())
        return self.message()

    def create_blob(self, blob, size):
        return int(self.order("blob", blob, (size + PAGE - 1) // PAGE * PAGE))

    def destroy(self):
        self.order("close")
        self.is_open = False


class GuestMemory:
    """A blob's, as the guest's program has it mapped: slices of up to a page."""

    def __init__(self, channel, resource):
        self.channel, self.resource = channel, resource

    def __getitem__(self, part):
        return bytes.fromhex(self.channel.order("peek", self.resource, part.start, part.stop - part.start))

    def __setitem__(self, part, data):
        assert len(data) == part.stop - part.start
        self.channel.order("poke", self.resource, part.start, data.hex())


class GuestDoor:
    MOST_BYTES = 6 << 30

    def __init__(self, guest):
        self.guest = guest
        self.channels = []

    def channel(self, context):  # pylint: disable=unused-argument
        self.channels.append(GuestContext(self.guest))
        return self.channels[-1]

    @staticmethod
    def map(channel, resource, size):  # pylint: disable=unused-argument
        return GuestMemory(channel, resource)


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
