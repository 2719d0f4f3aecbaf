# SPDX-License-Identifier: Apache-2.0
"""The door vhost-user, as the lists of cases want doors (cross_domain_cases.py)."""

import mmap
import os
import struct

from conftest import wait_until
from cross_domain_client import CrossDomain
from scripted_compositor import PATIENCE_SECONDS
from vhost_user_client import BACKEND_SHMEM_MAP
from virtio_gpu_driver import Gpu, header

MAP_BLOB, UNMAP_BLOB, OK_MAP_INFO = 0x208, 0x209, 0x1106
ROOM = ("--hostmem", "8G", "--max-host-memory", "16G")  # the device's, for the largest file


class VhostUserContext(CrossDomain):
    def wait(self, asked):
        wait_until(lambda: self.is_reached(asked), "the fence of a POLL", PATIENCE_SECONDS)


class VhostUserDoor:
    """A guest whose front end maps blobs for it, on a device with ROOM."""

    MOST_BYTES = 6 << 30

    def __init__(self, front_end):
        self.front_end = front_end
        self.offset = 0  # where the next blob is mapped

    def channel(self, context):
        return VhostUserContext(Gpu(self.front_end), self.front_end.ram, context=context,
                                first_resource=1000 * context)

    def map(self, channel, resource, size):  # pylint: disable=unused-argument
        at = self.front_end.offer_command(header(MAP_BLOB) + struct.pack("<IIQ", resource, 0, self.offset), 32,
                                          slot=5)
        request, _, payload, (fd,) = self.front_end.backend_request()
        assert request == BACKEND_SHMEM_MAP
        _, start, _, length, flags = struct.unpack("<B7xQQQQ", payload)
        self.offset += length
        assert os.fstat(fd).st_size >= start + length, "QEMU 11.1 maps whole pages only"
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if flags & 1 else 0)
        mapping = mmap.mmap(fd, size, prot=protection)
        os.close(fd)
        self.front_end.backend_reply(BACKEND_SHMEM_MAP)
        wait_until(lambda: self.front_end.ram.get(at, 4) != bytes(4), "the map")
        assert struct.unpack("<I", self.front_end.ram.get(at, 4))[0] == OK_MAP_INFO
        return mapping
