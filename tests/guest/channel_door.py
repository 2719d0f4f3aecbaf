# SPDX-License-Identifier: Apache-2.0
"""A guest's kernel and a program on it, swede_channel, as the lists of cases of tests/protocol want doors."""

from cross_domain_client import PAGE, CrossDomain, Message
from virtio_gpu_driver import OK_NODATA


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

    def repeat(self, data, count):
        if count:
            self.order("submit", count, data.hex())

    def drain(self, identifier):
        size, checksum, *others = self.order("drain").split()
        return (int(size), int(checksum)), [Message(bytes.fromhex(other).ljust(PAGE, b"\0")) for other in others]

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
    """A blob's, as the guest's program has it mapped: slices."""

    def __init__(self, channel, resource):
        self.channel, self.resource = channel, resource

    def __getitem__(self, part):
        data = b""
        for start in range(part.start or 0, part.stop, PAGE):
            size = min(part.stop - start, PAGE)
            data += bytes.fromhex(self.channel.order("peek", self.resource, start, size))
        return data

    def __setitem__(self, part, data):
        first = part.start or 0
        assert len(data) == part.stop - first
        for start in range(0, len(data), PAGE):
            self.channel.order("poke", self.resource, first + start, data[start:start + PAGE].hex())


class GuestDoor:
    """The guest of swede_channel, on a device with ROOM."""

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
