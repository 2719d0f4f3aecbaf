# SPDX-License-Identifier: Apache-2.0
"""A cross-domain context of a program on the local socket, with the methods of CrossDomain: the connection
is what the shim makes of the program's ioctls."""

import mmap
import os
import select
import struct

from cross_domain_client import CAPSET, PAGE, POLL, CrossDomain, command
from local_client import (BLOB_GUEST, BLOB_HOST3D, EVENT, EXEC_FENCE, EXEC_RING, EXECBUFFER, MAP, MAY_READ, MAY_WRITE,
                          LocalClient, Refused)
from virtio_gpu_driver import OK_NODATA

CHANNEL_RING = 1


class LocalContext(CrossDomain):
    """One connection of its own. What the program is answered is OK_NODATA or an errno."""

    def __init__(self, path):  # pylint: disable=super-init-not-called
        self.client = LocalClient(path)
        self.is_destroyed = False
        self.events = self.client.context_that_polls(1 << CHANNEL_RING, CAPSET, 2)
        self.query, self.query_at = self._ring()
        self.channel, self.channel_at = self._ring()

    def close(self):
        self.events.close()
        self.client.close()

    def _ring(self):
        resource = self.client.create_blob(PAGE, BLOB_GUEST, blob_id=0)
        return resource, self.client.map(resource)

    def read_ring(self, at, size):
        return at[:size]

    def submit(self, data, ring=None, resources=()):
        """With an answer, as it comes with a fence."""
        flags = EXEC_FENCE | (EXEC_RING if ring is not None else 0)
        try:
            self.client.ask(EXECBUFFER, LocalClient.execbuffer_body(data, resources, flags, ring or 0))
        except Refused as refused:
            return refused.errno
        return OK_NODATA

    def ask(self):
        """A POLL without an answer: its event is all that comes."""
        self.client.send(EXECBUFFER, LocalClient.execbuffer_body(command(POLL, bytes(8)), (), EXEC_RING,
                                                                 CHANNEL_RING), number=0)

    def wait_for_event(self):
        assert self.events.recv(len(EVENT)) == EVENT

    def is_reached(self, _):
        return bool(select.select([self.events], [], [], 0)[0])

    def wait(self, _):
        """After the connection's end no event comes, but the end of events."""
        assert self.events.recv(len(EVENT)) == (b"" if self.is_destroyed else EVENT)

    def receive(self):
        self.ask()
        self.wait_for_event()
        return self.message()

    def destroy(self):
        self.client.close()
        self.is_destroyed = True

    def create_blob(self, blob, size):
        return self.client.create_blob(size, BLOB_HOST3D, 3, blob)

    def map(self, resource):
        """(the memory, mapped for what its access allows; that access; its file)."""
        answer = self.client.ask(MAP, struct.pack("<II", resource, 0))
        fd, = answer["fds"]
        writable = bool(answer["access"] & MAY_WRITE)
        assert answer["access"] & MAY_READ and answer["size"] % PAGE == 0
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        # A file of the compositor may end inside of its last page; mmap(2) minds that less than Python does.
        size = min(answer["size"], os.fstat(fd).st_size)
        return mmap.mmap(fd, size, prot=protection, offset=answer["offset"]), answer["access"], fd


class LocalDoor:
    """As the lists of cases want doors: each context is a connection of the program."""

    MOST_BYTES = 6 << 30  # of a device with --max-host-memory 16G

    def __init__(self, path):
        self.path = path
        self.contexts = []

    def channel(self, context):  # pylint: disable=unused-argument
        self.contexts.append(LocalContext(self.path))
        return self.contexts[-1]

    def map(self, channel, resource, size):  # pylint: disable=unused-argument
        memory, _, fd = channel.map(resource)
        os.close(fd)
        return memory

    def close(self):
        for context in self.contexts:
            context.close()
