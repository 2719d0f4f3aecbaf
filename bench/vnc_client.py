# SPDX-License-Identifier: Apache-2.0
"""A viewer of QEMU's VNC server that shows nothing: it asks for the next change as soon as it has
one, and remembers the colours that it saw at one place. RFC 6143, raw encoding."""

import socket
import struct
import threading

_RAW, _DESKTOP_SIZE = 0, -223
_SET_ENCODINGS, _UPDATE_REQUEST = 2, 3
_UPDATE, _BELL, _CUT_TEXT = 0, 2, 3


class VncClient:
    """One connection to a UNIX socket; a thread of its own reads until close()."""

    def __init__(self, path, place):
        """place: (x, y) in pixels, whose colours are remembered in `seen` as 0xRRGGBB."""
        self.place = place
        self.seen = set()
        self.updates = 0
        self.bytes = 0
        self.error = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._data = memoryview(bytearray(1 << 20))
        self._size = self._greet()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _read(self, count):
        """Bytes that are valid until the next call."""
        if count > len(self._data):
            self._data = memoryview(bytearray(count))
        at = 0
        while at < count:
            got = self._socket.recv_into(self._data[at:count])
            if got == 0:
                raise EOFError
            at += got
        self.bytes += count
        return self._data[:count]

    def _greet(self):
        version = bytes(self._read(12))
        if not version.startswith(b"RFB 003.008"):
            raise ValueError(f"the VNC server speaks {version}")
        self._socket.sendall(version)
        kinds = bytes(self._read(self._read(1)[0]))
        if 1 not in kinds:
            raise ValueError(f"the VNC server wants a password (security types {list(kinds)})")
        self._socket.sendall(b"\1")
        if struct.unpack(">I", self._read(4))[0] != 0:
            raise ValueError("the VNC server refused the connection")
        self._socket.sendall(b"\1")
        width, height, bits = struct.unpack(">HHB15x", self._read(20))
        if bits != 32:
            raise ValueError(f"the VNC server sends {bits} bits a pixel, expected are 32")
        self._read(struct.unpack(">I", self._read(4))[0])
        self._socket.sendall(struct.pack(">BxHii", _SET_ENCODINGS, 2, _RAW, _DESKTOP_SIZE))
        return width, height

    def _ask(self, incremental):
        self._socket.sendall(
            struct.pack(">BBHHHH", _UPDATE_REQUEST, incremental, 0, 0, *self._size))

    def _run(self):
        try:
            self._ask(False)
            while True:
                kind = self._read(1)[0]
                if kind == _UPDATE:
                    rectangles, = struct.unpack(">xH", self._read(3))
                    resized = any([self._rectangle() for _ in range(rectangles)])
                    self.updates += 1
                    self._ask(not resized)
                elif kind == _CUT_TEXT:
                    self._read(struct.unpack(">3xI", self._read(7))[0])
                elif kind != _BELL:
                    raise ValueError(f"the VNC server sent a message of the unknown type {kind}")
        except (EOFError, OSError):
            pass  # closed, by us or by QEMU
        except ValueError as error:
            self.error = error

    def _rectangle(self):
        """Takes one rectangle; true if the screen has another size from now on."""
        x, y, width, height, encoding = struct.unpack(">HHHHi", self._read(12))
        if encoding == _DESKTOP_SIZE:
            self._size = (width, height)
            return True
        if encoding != _RAW:
            raise ValueError(f"the VNC server sent the encoding {encoding}, which nobody asked for")
        pixels = self._read(width * height * 4)
        column, row = self.place[0] - x, self.place[1] - y
        if 0 <= column < width and 0 <= row < height:
            at = (row * width + column) * 4
            self.seen.add(int.from_bytes(pixels[at:at + 3], "little"))
        return False
