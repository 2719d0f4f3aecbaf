# SPDX-License-Identifier: Apache-2.0
"""A guest's cross-domain context on the C library, with the methods of CrossDomain: the VMM's calls are
what a VMM makes of the guest's commands."""

import ctypes

import c_abi
from c_abi import U32
from cross_domain_client import CAPSET, PAGE, POLL, CrossDomain, command
from virtio_gpu_driver import OK_NODATA

CHANNEL_RING = 1


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

    def is_reached(self, fence):
        return any(entry[2:] == (fence, self.context, CHANNEL_RING) for entry in self.instance.fences)

    def receive(self):
        fence = self.ask()
        with self.instance.changed:
            assert self.instance.changed.wait_for(lambda: self.is_reached(fence), 60), "no message comes"
            self.instance.fences.clear()
        return self.message()

    def create_blob(self, blob, size):
        resource = self.new_id()
        request = c_abi.CreateBlob(c_abi.BLOB_MEM_HOST3D, 3, blob, size)
        assert self.instance.resource_create_blob(U32(self.context), U32(resource), ctypes.byref(request),
                                                  ctypes.byref(c_abi.iovecs()), None) == 0
        self.attach(resource)
        return resource
