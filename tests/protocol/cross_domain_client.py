# SPDX-License-Identifier: Apache-2.0
"""The guest's end of cross-domain (docs/cross-domain.md) over the commands of a virtio-gpu driver: a
context with its rings, as the programs in guests make it."""

import struct
import zlib

from virtio_gpu_driver import BLOB_FLAG_MAPPABLE, BLOB_FLAG_SHAREABLE, BLOB_MEM_GUEST, OK_NODATA
from virtio_gpu_driver import FLAG_FENCE, RESOURCE_CREATE_BLOB, header

CTX_CREATE, CTX_DESTROY, CTX_ATTACH, CTX_DETACH, SUBMIT_3D = 0x200, 0x201, 0x202, 0x203, 0x207
FLAG_RING_IDX = 2
BLOB_MEM_HOST3D = 2
CAPSET = 5
INIT, GET_IMAGE_REQUIREMENTS, POLL, SEND, RECEIVE, READ, WRITE = range(1, 8)
BLOB, SYNC, READ_PIPE, WRITE_PIPE = range(1, 5)
WAYLAND = 1
PAGE = 4096
MAX_DATA = PAGE - 352
ASKING_SLOT = 8  # of the queue, and on: one for each context


def fourcc(name):
    return struct.unpack("<I", name.ljust(4).encode())[0]


def command(kind, body):
    return struct.pack("<BBHI", kind, 0, 8 + len(body), 0) + body


def send_command(data, identifiers=(), count=28):
    """`identifiers`: (id, type) pairs."""
    columns = [[0] * count, [0] * count]
    for i, (identifier, kind) in enumerate(identifiers):
        columns[0][i], columns[1][i] = identifier, kind
    arrays = struct.pack(f"<{3 * count}I", *columns[0], *columns[1], *[0] * count)
    return command(SEND, struct.pack("<II", len(identifiers), len(data)) + arrays + data)


def write_command(identifier, data, hang_up=False):
    return command(WRITE, struct.pack("<4I", identifier, hang_up, len(data), 0) + data)


class Message:
    """What the host put into the channel ring."""

    def __init__(self, raw, count=28):
        self.kind, = struct.unpack_from("<I", raw)  # the rest of the first word is 0
        if self.kind == READ:
            self.identifier, self.hang_up, size, _ = struct.unpack_from("<4I", raw, 8)
            self.data = raw[24:24 + size]
            return
        assert self.kind == RECEIVE, raw[:16].hex()
        number, size = struct.unpack_from("<II", raw, 8)
        columns = [struct.unpack_from(f"<{count}I", raw, 16 + 4 * count * i) for i in range(3)]
        self.identifiers = list(zip(*columns))[:number]  # (id, type, size)
        start = 16 + 12 * count
        self.data = raw[start:start + size]
        self.is_end = number == 0 and size == 0


class CrossDomain:
    """A context of capset 5 with its two rings. `ram` has allocate(), get() and put()."""

    def __init__(self, gpu, ram, context=1, first_resource=100):
        self.gpu, self.ram, self.context = gpu, ram, context
        self.next_resource = first_resource
        self.fence = 0
        assert gpu.status(CTX_CREATE, struct.pack("<II64s", 4, CAPSET, b"test"), context=context) == OK_NODATA
        self.query, self.query_at = self._ring()
        self.channel, self.channel_at = self._ring()

    def _ring(self):
        at = self.ram.allocate(PAGE, PAGE)
        self.ram.put(at, bytes(PAGE))
        resource = self.new_id()
        body = struct.pack("<4IQQQII", resource, BLOB_MEM_GUEST, BLOB_FLAG_MAPPABLE, 1, 0, PAGE, at, PAGE, 0)
        assert self.gpu.status(RESOURCE_CREATE_BLOB, body) == OK_NODATA
        self.attach(resource)
        return resource, at

    def new_id(self):
        self.next_resource += 1
        return self.next_resource

    def attach(self, resource):
        assert self.gpu.status(CTX_ATTACH, struct.pack("<II", resource, 0), context=self.context) == OK_NODATA

    def submit(self, data, **fields):
        """The response's type."""
        return self.gpu.status(SUBMIT_3D, struct.pack("<II", len(data), 0) + data, context=self.context, **fields)

    def init(self, kind=WAYLAND, query=None, channel=None):
        return self.submit(command(INIT, struct.pack("<III", query or self.query, channel or self.channel, kind)))

    def read_ring(self, at, size):
        return self.ram.get(at, size)

    def send(self, data, identifiers=()):
        return self.submit(send_command(data, identifiers))

    def repeat(self, data, count):
        """The same commands so many times, whatever is answered."""
        for _ in range(count):
            self.submit(data)

    def flood(self, data, count):
        self.repeat(send_command(data), count)

    def write(self, identifier, data, hang_up=False):
        """Into a pipe that came."""
        assert self.submit(write_command(identifier, data, hang_up)) == OK_NODATA

    def pour(self, identifier, block, size):
        """So many bytes of this block, again and again, and the end."""
        self.repeat(write_command(identifier, block), size // len(block))
        self.write(identifier, block[:size % len(block)], hang_up=True)

    def drain(self, identifier):
        """What comes through a pipe until its end: ((size, checksum), what the compositor said meanwhile)."""
        size, checksum, others = 0, 1, []
        while True:
            message = self.receive()
            if message.kind != READ:
                assert not message.is_end
                others.append(message)
                continue
            assert message.identifier == identifier
            if message.hang_up:
                return (size, checksum), others
            size += len(message.data)
            checksum = zlib.adler32(message.data, checksum)

    def destroy(self):
        assert self.gpu.status(CTX_DESTROY, b"", context=self.context) == OK_NODATA

    def ask(self):
        """A POLL whose fence is left to wait: for is_reached()."""
        return self.gpu.function.offer_command(self.poll_request(), 24, slot=ASKING_SLOT + self.context)

    def is_reached(self, asked):
        return self.ram.get(asked, 4) != bytes(4)

    def poll_request(self):
        """The whole POLL, for who offers it and waits by himself."""
        self.fence += 1
        poll = command(POLL, bytes(8))
        return header(SUBMIT_3D, FLAG_FENCE | FLAG_RING_IDX, self.fence, self.context, 1) + struct.pack(
            "<II", len(poll), 0) + poll

    def receive(self):
        """The next message; waits for it."""
        self.fence += 1
        assert self.submit(command(POLL, bytes(8)), flags=FLAG_FENCE | FLAG_RING_IDX, fence=self.fence,
                           ring=1) == OK_NODATA
        return self.message()

    def message(self):
        return Message(self.read_ring(self.channel_at, PAGE))

    def image(self, width, height, form="R8"):
        """(stride, size, blob id)"""
        assert self.submit(command(GET_IMAGE_REQUIREMENTS, struct.pack(
            "<4I", width, height, fourcc(form), 0x11))) == OK_NODATA
        raw = self.read_ring(self.query_at, 64)
        stride, = struct.unpack_from("<I", raw)
        size, blob = struct.unpack_from("<QI", raw, 40)
        return stride, size, blob

    def create_blob(self, blob, size):
        """A resource of what the context calls `blob`, attached."""
        resource = self.new_id()
        body = struct.pack("<4IQQ", resource, BLOB_MEM_HOST3D, BLOB_FLAG_MAPPABLE | BLOB_FLAG_SHAREABLE, 0, blob,
                           size)
        assert self.gpu.status(RESOURCE_CREATE_BLOB, body, context=self.context) == OK_NODATA
        self.attach(resource)
        return resource
