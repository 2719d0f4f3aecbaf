# SPDX-License-Identifier: Apache-2.0
"""cross-domain on the C library, as the lists of cases want doors: the calls are what a VMM makes of the
guest's commands."""

import ctypes
import os

import c_abi
from c_abi import U32, Instance
from conftest import wait_until
from cross_domain_client import CAPSET, PAGE, POLL, CrossDomain, command
from scripted_compositor import PATIENCE_SECONDS
from virtio_gpu_driver import OK_NODATA

CHANNEL_RING = 1


def make_instance(path):
    """An instance with the channel, as QEMU makes it."""
    channel = c_abi.Channel(str(path).encode(), 1)
    channels = c_abi.Channels(ctypes.pointer(channel), 1)
    library = c_abi.load()
    builder = lambda **words: c_abi.Builder(**words, channels=ctypes.pointer(channels))
    return Instance(library, capset_mask=1 << CAPSET, builder=builder)


class VmmDoor:
    """The VMM. With `with`: an instance that leaves no file and no thread."""

    MOST_BYTES = 1 << 30  # of the library's limit

    def __init__(self, path):
        self.before = self._census()
        self.instance = make_instance(path)

    def __enter__(self):
        self.instance.__enter__()
        return self

    def __exit__(self, kind, *rest):
        self.instance.__exit__(kind, *rest)
        if kind is None:
            # A thread that was joined is still listed for a moment.
            wait_until(lambda: self._census() == self.before, "return to the start")

    @staticmethod
    def _census():
        return [len(os.listdir(f"/proc/self/{what}")) for what in ("fd", "task")]

    def channel(self, context):
        return CLibraryContext(self.instance, context, 1000 * context)

    def map(self, channel, resource, size):  # pylint: disable=unused-argument
        mapping = c_abi.MappingOf()
        assert self.instance.resource_map(U32(resource), ctypes.byref(mapping)) == 0
        assert mapping.size >= size and mapping.size % 4096 == 0
        return memoryview((ctypes.c_char * size).from_address(mapping.ptr)).cast("B")


class CLibraryContext(CrossDomain):
    """`instance` has capset 5. What the guest is answered is OK_NODATA or an errno."""

    def __init__(self, instance, context=1, first_resource=100):  # pylint: disable=super-init-not-called
        self.instance, self.context = instance, context
        self.next_resource = first_resource
        self.fence = 0
        assert instance.context_create(U32(context), U32(CAPSET), b"test", U32(4)) == 0
        self.query, self.query_at = self._ring()
        self.channel, self.channel_at = self._ring()

    def _ring(self):
        memory = c_abi.memory(PAGE)
        resource = self.new_id()
        assert self.instance.blob(resource, PAGE, [memory]) == 0
        self.attach(resource)
        return resource, memory

    def read_ring(self, at, size):
        return at.raw[:size]

    def attach(self, resource):
        assert self.instance.context_attach_resource(U32(self.context), U32(resource)) == 0

    def submit(self, data, **_):
        buffer = ctypes.create_string_buffer(data, len(data)) if data else None
        answer = self.instance.submit_command(ctypes.byref(c_abi.Command(
            self.context, len(data), ctypes.cast(buffer, ctypes.c_void_p), 0, None)))
        return answer or OK_NODATA

    def ask(self):
        """A POLL with its fence; the fence's id."""
        self.fence += 1
        assert self.submit(command(POLL, bytes(8))) == OK_NODATA
        assert self.instance.fence(self.fence, context=self.context, ring=CHANNEL_RING) == 0
        return self.fence

    def is_reached(self, asked):
        return any(entry[2:] == (asked, self.context, CHANNEL_RING) for entry in self.instance.fences)

    def wait(self, asked):
        with self.instance.changed:
            assert self.instance.changed.wait_for(lambda: self.is_reached(asked), PATIENCE_SECONDS)

    def receive(self):
        self.wait(self.ask())
        self.instance.fences = [entry for entry in self.instance.fences if entry[3] != self.context]
        return self.message()

    def destroy(self):
        assert self.instance.context_destroy(U32(self.context)) == 0

    def create_blob(self, blob, size):
        resource = self.new_id()
        request = c_abi.CreateBlob(c_abi.BLOB_MEM_HOST3D, 3, blob, size)
        assert self.instance.resource_create_blob(U32(self.context), U32(resource), ctypes.byref(request),
                                                  ctypes.byref(c_abi.iovecs()), None) == 0
        self.attach(resource)
        return resource
