# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of c_abi_calls_fuzzer: a guest's life with and without a renderer, in its form.

    python3 make_c_abi_calls_seeds.py FOLDER
"""

import pathlib
import sys

(CREATE_3D, CREATE_2D, CREATE_BLOB, UNREF, ATTACH_BACKING, DETACH_BACKING, TRANSFER, MAP, UNMAP,
 MAP_INFO, EXPORT, IMPORT, CREATE_CONTEXT, DESTROY_CONTEXT, ATTACH_RESOURCE, SUBMIT, FENCE, _,
 CAPSETS, TOUCH) = range(20)
GUEST, HOST3D, HOST3D_GUEST = 1, 2, 3
WRITE, INTO_MEMORY, ALL_WORDS, WITH_OFFSET, NOWHERE = 1, 2, 4, 8, 16
ECHO, ADD, FILL, DELAY, STALL, SLOW, FAIL, NEVER, REFUSE, LOSE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 0
RING = 2
LOOSE, OTHER_TYPE, NO_FILE = 3, 4, 8  # of a file that the VMM gives


def word(value):
    if value < 0xFC:
        return bytes([value])
    if value >= 0xFFFFFF00:
        return bytes([0xFC, 0xFFFFFFFF - value])
    if value & 0xFFF == 0 and value >> 12 < 256:
        return bytes([0xFD, value >> 12])
    return b"\xfe" + value.to_bytes(4, "big")


def long_word(value):
    if value >> 32:
        return b"\x01" + word(value >> 32) + word(value & 0xFFFFFFFF)
    return b"\x00" + word(value)


class Seed:
    """Calls, one after the other."""

    def __init__(self, renderer=True):
        self.data = bytes([0 if renderer else 1])

    def call(self, number, *parts):
        self.data += bytes([number]) + b"".join(
            part if isinstance(part, bytes) else word(part) for part in parts)
        return self

    def picture(self, resource=1, width=16, height=16):
        return self.call(CREATE_2D, resource, width, height)

    def texture(self, resource=1, *, target=2, form=1, bind=10, width=16, height=16, depth=1,
                levels=0):
        return self.call(CREATE_3D, resource, target, form, bind, width, height, depth, 1, levels,
                         0, 0)

    @staticmethod
    def pieces(*pieces, at=0):
        return (bytes([len(pieces)]) + b"".join(word(start) + word(size) for start, size in pieces)
                + bytes([at]))

    def blob(self, resource, size=4096, *, mem=HOST3D, flags=1, context=1, pieces=(), handle=None):
        given = b"\x00" if handle is None else b"\x03" + bytes(handle)
        return self.call(CREATE_BLOB, context, resource, bytes([mem]), flags, 1, long_word(size),
                         self.pieces(*pieces), given)

    def backing(self, resource, *pieces, at=0):
        return self.call(ATTACH_BACKING, self.pieces(*pieces, at=at), resource)

    def transfer(self, kind, resource=1, box=(0, 0, 16, 16), *, context=0, words=(0, 1, 0, 0, 0),
                 offset=0, room=1024):
        parts = [bytes([kind]), context, resource, *box]
        if kind & ALL_WORDS:
            parts += words
        if kind & WITH_OFFSET:
            parts.append(long_word(offset))
        return self.call(TRANSFER, *parts, room)

    def context(self, context=1, capset=None):
        if capset is None:
            return self.call(CREATE_CONTEXT, context, b"\x01", 0xFFFFFFFF)
        return self.call(CREATE_CONTEXT, context, b"\x00", capset, 4)

    def attach(self, resource, context=1, detach=0):
        return self.call(ATTACH_RESOURCE, bytes([detach]), context, resource)

    def submit(self, operation, resource=0, value=0, *, context=1, offset=0, argument=0, data=b"",
               cut=0):
        return self.call(SUBMIT, context, bytes([operation, value]), resource, long_word(offset),
                         argument, bytes([len(data)]), data, bytes([31 if cut else 0]))

    def fence(self, context=0, ring=None):
        return self.call(FENCE, bytes([0 if ring is None else RING]), context, ring or 0)

    def imported(self, resource=9, *, flags=1, second=0, offset=0, modifier=0, kind=0, kilobytes=4,
                 width=16, stride=64):
        return self.call(IMPORT, resource, flags, width, 16, bytes([second]), stride, offset,
                         bytes([modifier, kind, kilobytes]))


def flat(renderer=False):
    return Seed(renderer).picture().backing(1, (0, 512), (512, 1024), (4096, 512))


SEEDS = {
    "flat": flat().transfer(WRITE).transfer(INTO_MEMORY).transfer(0).transfer(WRITE, box=(4, 4, 2, 2))
            .transfer(WRITE | WITH_OFFSET, box=(4, 4, 2, 2), offset=272).fence().fence(7, 1)
            .call(DETACH_BACKING, 1).transfer(WRITE).call(UNREF, 1).call(UNREF, 1),
    "flat_bad_boxes": flat().transfer(WRITE, box=(0, 0, 17, 1)).transfer(INTO_MEMORY, box=(9, 9, 9, 9))
            .transfer(INTO_MEMORY | ALL_WORDS, words=(1, 1, 0, 0, 0))
            .transfer(INTO_MEMORY | ALL_WORDS, box=(0, 0, 4, 4), words=(0, 1, 0, 3, 0))
            .transfer(INTO_MEMORY, room=4).transfer(INTO_MEMORY | NOWHERE)
            .transfer(INTO_MEMORY | WITH_OFFSET, offset=1 << 63).transfer(WRITE, box=(0, 0, 0, 0))
            .transfer(WRITE | ALL_WORDS, words=(0, 1, 0, 0xFFFFFFFF, 0)).transfer(WRITE, 2)
            .transfer(WRITE, context=3).transfer(INTO_MEMORY, context=3),
    "flat_bad_pieces": flat().backing(1).backing(1, (0, 64), at=31).backing(1, (0, 0)).backing(1, (0, 0xFFFFFFFF))
            .backing(1, (0, 0xFFFFFFFE)).backing(2, (0, 64)).backing(1, (0, 64)).picture(1)
            .picture(2, 0, 4).picture(0).picture(3, 0xFFFFFFFF, 0xFFFFFFFF),
    "flat_capsets": flat().call(CAPSETS, 30, b"\x01\x10").context().call(DESTROY_CONTEXT, 1)
            .texture(3, depth=0).texture(4, target=3, depth=3),
    "guest_blob": Seed(False).blob(1, mem=GUEST, context=0, pieces=[(0, 4096)])
            .transfer(WRITE).transfer(INTO_MEMORY).call(MAP, 1).call(MAP_INFO, 1).call(EXPORT, 1)
            .call(UNMAP, 1).call(DETACH_BACKING, 1).backing(1, (0, 8192))
            .blob(2, mem=GUEST, pieces=[(0, 64)]).blob(3, mem=0).blob(4, mem=4),
    "host_blob": Seed().context().blob(1).blob(2, 5000).call(MAP, 1).call(MAP, 1).call(MAP_INFO, 1)
            .call(MAP, 2).call(TOUCH).call(EXPORT, 1).call(UNMAP, 1).call(UNMAP, 1).call(UNREF, 2)
            .call(TOUCH).call(UNMAP, 2).call(UNREF, 1).call(EXPORT, 9).call(MAP, 9),
    "host_blob_of_two_lives": Seed().context().blob(1).call(MAP, 1).call(UNREF, 1).blob(1)
            .call(MAP, 1).call(TOUCH).call(UNMAP, 1).call(TOUCH).call(UNMAP, 1),
    "host_blob_with_guest_memory": Seed().context().blob(1, mem=HOST3D_GUEST, pieces=[(0, 4096)])
            .attach(1).submit(ECHO, 1, data=b"12345678").submit(FILL, 1, 5, argument=16)
            .call(DETACH_BACKING, 1).submit(ADD, 1, 1).attach(1, detach=1),
    "failing_renderer": Seed().context().submit(FAIL).blob(1).blob(1).submit(FAIL).call(EXPORT, 1)
            .submit(SLOW, value=1).call(MAP, 1).submit(NEVER).call(EXPORT, 1).submit(NEVER)
            .blob(2).blob(2).submit(REFUSE).submit(ECHO, cut=1),
    "fences": Seed().context().context(2).fence(1, 0).submit(DELAY, value=2).fence(1, 0).fence(1)
            .fence(2, 1).submit(STALL, context=2).fence(2, 0).fence(2, 300).fence(9, 1)
            .submit(LOSE).fence(1, 1).fence(1).submit(ECHO).call(DESTROY_CONTEXT, 1)
            .context(2).fence(2, 0),
    "last_context": Seed().context().submit(DELAY, value=1).context(0xFFFFFFFF)
            .call(DESTROY_CONTEXT, 0xFFFFFFFF).fence(1),
    "textures": Seed().context().texture().backing(1, (0, 1024)).transfer(WRITE)
            .transfer(INTO_MEMORY).transfer(0).transfer(WRITE | WITH_OFFSET, offset=4)
            .transfer(WRITE, context=1).attach(1).picture(2).transfer(WRITE, 2)
            .call(DETACH_BACKING, 1).call(EXPORT, 1).call(UNREF, 1),
    "imports": Seed().imported().imported().imported(10, flags=0).imported(10, second=1)
            .imported(10, offset=1).imported(10, offset=8192).imported(10, modifier=1)
            .imported(10, kilobytes=0).imported(10, kilobytes=3).transfer(INTO_MEMORY, 9),
    "imported_pictures": Seed(False).imported(kilobytes=8, offset=100, stride=80).backing(9, (0, 1024))
            .transfer(WRITE, 9).transfer(INTO_MEMORY, 9).transfer(0, 9).call(EXPORT, 9).imported()
            .imported(10, kind=LOOSE).imported(10, kind=NO_FILE).imported(10, kind=OTHER_TYPE)
            .imported(10, stride=60).imported(10, offset=4092).call(UNREF, 9).imported(),
    "given_blobs": Seed().context().blob(2, handle=(0, 8), context=0).call(MAP, 2).call(TOUCH)
            .call(MAP_INFO, 2).call(EXPORT, 2).attach(2).transfer(WRITE, 2).call(UNREF, 2).call(TOUCH)
            .call(UNMAP, 2).blob(2, 5000, handle=(0, 8)).blob(2, handle=(0, 8)).blob(3, handle=(0, 1))
            .blob(3, handle=(LOOSE, 8)).blob(3, handle=(NO_FILE, 8)).blob(3, handle=(OTHER_TYPE, 8))
            .blob(3, mem=GUEST, handle=(0, 8)).blob(3, handle=(0, 8), pieces=[(0, 4096)])
            .blob(3, handle=(0, 8), context=9).blob(3, flags=64, handle=(0, 8)).backing(2, (0, 8192)),
    "contexts": Seed().context(0).context(1, 31).context(1).context(1).context(2).context(3)
            .context(4).context(5).call(CAPSETS, 30, b"\x01\x10").call(CAPSETS, 30, b"\x09\x10")
            .call(CAPSETS, 31, b"\x00\x10").attach(1).picture(1).attach(1).attach(1, 9)
            .attach(1, detach=1).attach(1, 9, detach=1).call(DESTROY_CONTEXT, 9),
}


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        (directory / name).write_bytes(seed.data)


if __name__ == "__main__":
    main()
