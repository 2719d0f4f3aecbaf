# SPDX-License-Identifier: Apache-2.0
"""Commands of a virtio-gpu driver (virtio 1.3, 5.7), over anything that has command(request,
response_size, queue number) -> response bytes."""

import struct

EDID, RESOURCE_UUID, RESOURCE_BLOB = 1 << 1, 1 << 2, 1 << 3
FEATURES = EDID | RESOURCE_UUID | RESOURCE_BLOB

GET_DISPLAY_INFO = 0x100
RESOURCE_CREATE_2D = 0x101
RESOURCE_UNREF = 0x102
SET_SCANOUT = 0x103
RESOURCE_FLUSH = 0x104
TRANSFER_TO_HOST_2D = 0x105
RESOURCE_ATTACH_BACKING = 0x106
RESOURCE_DETACH_BACKING = 0x107
GET_CAPSET_INFO = 0x108
GET_EDID = 0x10a
RESOURCE_ASSIGN_UUID = 0x10b
RESOURCE_CREATE_BLOB = 0x10c
SET_SCANOUT_BLOB = 0x10d
UPDATE_CURSOR = 0x300
MOVE_CURSOR = 0x301

OK_NODATA = 0x1100
OK_DISPLAY_INFO = 0x1101
OK_EDID = 0x1104
OK_RESOURCE_UUID = 0x1105
ERR_UNSPEC = 0x1200
ERR_OUT_OF_MEMORY = 0x1201
ERR_INVALID_SCANOUT = 0x1202
ERR_INVALID_RESOURCE = 0x1203
ERR_INVALID_CONTEXT = 0x1204
ERR_INVALID_PARAMETER = 0x1205

FLAG_FENCE = 1
BLOB_MEM_GUEST = 1
BLOB_FLAG_MAPPABLE, BLOB_FLAG_SHAREABLE = 1, 2
FORMAT_B8G8R8A8 = 1
FORMAT_B8G8R8X8 = 2


def header(kind, flags=0, fence=0, context=0, ring=0):
    return struct.pack("<IIQIB3x", kind, flags, fence, context, ring)


class Gpu:
    """One method for each command; the answer is the response's type, or its content."""

    def __init__(self, function):
        self.function = function

    def send(self, kind, body=b"", response_size=24, number=0, **fields):
        """(response type, the whole response)"""
        response = self.function.command(header(kind, **fields) + body, response_size, number)
        assert len(response) >= 24, "a response is cut below its header"
        return struct.unpack("<I", response[:4])[0], response

    def status(self, kind, body=b"", **fields):
        return self.send(kind, body, **fields)[0]

    def display_info(self):
        """[(x, y, width, height, enabled)] of the 16 scanouts."""
        kind, response = self.send(GET_DISPLAY_INFO, response_size=24 + 16 * 24)
        assert kind == OK_DISPLAY_INFO and len(response) == 24 + 16 * 24
        return [struct.unpack_from("<5I", response, 24 + 24 * i) for i in range(16)]

    def edid(self, scanout=0):
        kind, response = self.send(GET_EDID, struct.pack("<II", scanout, 0), 24 + 8 + 1024)
        assert kind == OK_EDID
        size = struct.unpack_from("<I", response, 24)[0]
        return response[32:32 + size]

    def create_2d(self, resource, width, height, form=FORMAT_B8G8R8X8):
        return self.status(RESOURCE_CREATE_2D, struct.pack("<4I", resource, form, width, height))

    def unref(self, resource):
        return self.status(RESOURCE_UNREF, struct.pack("<II", resource, 0))

    def attach_backing(self, resource, entries):
        body = struct.pack("<II", resource, len(entries))
        for address, length in entries:
            body += struct.pack("<QII", address, length, 0)
        return self.status(RESOURCE_ATTACH_BACKING, body)

    def detach_backing(self, resource):
        return self.status(RESOURCE_DETACH_BACKING, struct.pack("<II", resource, 0))

    def set_scanout(self, scanout, resource, x, y, width, height):
        return self.status(SET_SCANOUT, struct.pack("<6I", x, y, width, height, scanout, resource))

    def transfer(self, resource, x, y, width, height, offset=0, **fields):
        return self.status(TRANSFER_TO_HOST_2D,
                           struct.pack("<4IQII", x, y, width, height, offset, resource, 0),
                           **fields)

    def flush(self, resource, x, y, width, height, **fields):
        return self.status(RESOURCE_FLUSH,
                           struct.pack("<6I", x, y, width, height, resource, 0), **fields)

    def create_blob(self, resource, size, entries, memory=BLOB_MEM_GUEST,
                    flags=BLOB_FLAG_MAPPABLE, blob_id=0):
        body = struct.pack("<4IQQ", resource, memory, flags, len(entries), blob_id, size)
        for address, length in entries:
            body += struct.pack("<QII", address, length, 0)
        return self.status(RESOURCE_CREATE_BLOB, body)

    def set_scanout_blob(self, scanout, resource, width, height, stride, form=FORMAT_B8G8R8X8):
        return self.status(SET_SCANOUT_BLOB,
                           struct.pack("<4I6I4I4I", 0, 0, width, height, scanout, resource, width,
                                       height, form, 0, stride, 0, 0, 0, 0, 0, 0, 0))

    def update_cursor(self, scanout, resource, x=0, y=0, hot_x=0, hot_y=0):
        return self.status(UPDATE_CURSOR,
                           struct.pack("<8I", scanout, x, y, 0, resource, hot_x, hot_y, 0),
                           number=1)
