# SPDX-License-Identifier: Apache-2.0
"""Reads from ELF files what packing an image needs: libraries wanted, and kernel module facts."""

import struct

_PT_DYNAMIC, _PT_INTERP, _PT_LOAD = 2, 3, 1
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29


class Elf:
    """A little-endian 64-bit ELF image held in memory."""

    def __init__(self, data):
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a little-endian 64-bit ELF file")
        self.data = data
        (self._phoff, self._shoff) = struct.unpack_from("<QQ", data, 32)
        (self._phentsize, self._phnum, self._shentsize, self._shnum,
         self._shstrndx) = struct.unpack_from("<HHHHH", data, 54)

    def _string(self, offset):
        return self.data[offset:self.data.index(b"\0", offset)].decode()

    def _segments(self):
        for index in range(self._phnum):
            kind, _, offset, address, _, size = struct.unpack_from(
                "<IIQQQQ", self.data, self._phoff + index * self._phentsize)
            yield kind, offset, address, size

    def _file_offset(self, address):
        for kind, offset, start, size in self._segments():
            if kind == _PT_LOAD and start <= address < start + size:
                return address - start + offset
        raise ValueError(f"address {address:#x} is in no segment")

    def _dynamic(self, *tags):
        entries = []
        for kind, offset, _, size in self._segments():
            if kind == _PT_DYNAMIC:
                entries = [struct.unpack_from("<qQ", self.data, offset + at)
                           for at in range(0, size, 16)]
        strings = [value for tag, value in entries if tag == _DT_STRTAB]
        if not strings:
            return []
        base = self._file_offset(strings[0])
        return [self._string(base + value) for tag, value in entries if tag in tags]

    def needed(self):
        """Sonames of the libraries that the dynamic loader will look for."""
        return self._dynamic(_DT_NEEDED)

    def run_paths(self):
        return [path for entry in self._dynamic(_DT_RPATH, _DT_RUNPATH) for path in entry.split(":")]

    def interpreter(self):
        for kind, offset, _, _ in self._segments():
            if kind == _PT_INTERP:
                return self._string(offset)
        return None

    def section(self, name):
        names, = struct.unpack_from("<Q", self.data,
                                    self._shoff + self._shstrndx * self._shentsize + 24)
        for index in range(self._shnum):
            at = self._shoff + index * self._shentsize
            title, = struct.unpack_from("<I", self.data, at)
            offset, size = struct.unpack_from("<QQ", self.data, at + 24)
            if self._string(names + title) == name:
                return self.data[offset:offset + size]
        return b""

    def module_facts(self, key):
        """Values of `key` in a kernel module's .modinfo, such as `depends`."""
        prefix = key.encode() + b"="
        return [entry[len(prefix):].decode() for entry in self.section(".modinfo").split(b"\0")
                if entry.startswith(prefix)]
