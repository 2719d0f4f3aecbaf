# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of gfxstream_ring_fuzzer, in its form.

    python3 make_gfxstream_ring_seeds.py [FOLDER]
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent

BUFFER = 1 << 20
BUFFER_OFFSET = 3 * 4096
MAX_PACKET = 64 << 20
# Places of the fuzzer's kWords.
(DESCRIPTORS_WRITTEN, DESCRIPTORS_READ, LARGE_WRITTEN, LARGE_READ, REPLY_WRITTEN, REPLY_READ, STATE,
 BUFFER_SIZE, FLUSH_INTERVAL, MODE, TRANSFER_SIZE, IN_ERROR, FIRST_DESCRIPTOR) = range(13)


class Seed:
    """Steps of the guest and turns of ours."""

    def __init__(self, small_budget=False):
        self.data = bytes([small_budget])

    def step(self, kind, rest=b""):
        self.data += kind + rest
        return self

    def word(self, which, value):
        return self.step(b"w", struct.pack("<BI", which, value & 0xffffffff))

    def small(self, data):
        return self.step(b"p", struct.pack("<H", len(data)) + data)

    def large(self, data):
        return self.step(b"l", struct.pack("<H", len(data)) + data)

    def descriptor(self, offset, size):
        return self.step(b"d", struct.pack("<II", offset, size))

    def turns(self, count=255):
        return self.step(b"t", bytes([count]))

    def reply(self, size):
        return self.step(b"r", struct.pack("<I", size))

    def start(self):
        return self.small(bytes(4)).turns()


def packet(opcode, body=b"", size=None):
    return struct.pack("<II", opcode, 8 + len(body) if size is None else size) + body


def seeds():
    yield "small", Seed().start().small(packet(1, b"abcd")).turns().small(packet(2)).turns()
    yield "many_in_one", Seed().start().small(b"".join(packet(i, bytes(i)) for i in range(9))).turns()
    yield "torn", (Seed().small(b"\0\0").small(b"\0\0" + packet(7, b"12345")[:5]).turns(0)
                   .small(packet(7, b"12345")[5:]).turns())
    yield "flags_alone", Seed().small(b"").small(b"\1").turns().large(b"\2\3\4").turns()
    yield "large", Seed().start().large(packet(3, bytes(3000))).turns().large(packet(4)).turns()
    yield "large_then_small", (Seed().start().large(packet(3, bytes(300))).small(packet(4, b"xy"))
                               .turns())
    yield "large_wraps", (Seed().start().word(LARGE_WRITTEN, BUFFER - 20).word(TRANSFER_SIZE, 16)
                          .step(b"x").large(packet(3, bytes(range(64)))).turns())
    yield "positions_wrap", (Seed().start().word(DESCRIPTORS_WRITTEN, -8).word(LARGE_WRITTEN, -16)
                             .step(b"x").small(packet(1)).small(packet(2)).turns()
                             .large(packet(3, bytes(40))).turns())
    yield "large_in_parts", _large_in_parts()
    yield "grows", _grows()
    yield "shrinks", _shrinks()
    yield "moved_to_the_front", (Seed().start().small(packet(1, size=12_008)).step(
        b"b", struct.pack("<IH", BUFFER_OFFSET + 77_536, 8) + packet(2, size=9_008))
        .descriptor(65_536, 15_000).turns().descriptor(200_000, 6_008).turns())
    yield "over_budget", (Seed(True).start().small(packet(1, size=1 << 20)).turns()
                          .descriptor(0, BUFFER).turns())
    for size in (0, 7, MAX_PACKET + 1, 0xffffffff):
        yield f"size_{size:x}", Seed().start().small(packet(1, size=size)).turns()
    for offset, size in ((0, BUFFER + 1), (BUFFER, 1), (1, 0xffffffff), (0xffffffff, 1)):
        yield f"outside_{offset:x}_{size:x}", Seed().start().descriptor(offset, size).turns()
    yield "empty_at_the_end", Seed().descriptor(BUFFER, 0).descriptor(0, 0).turns()
    yield "size_without_bytes", Seed().start().word(TRANSFER_SIZE, 500).turns().word(TRANSFER_SIZE, 0).word(
        LARGE_WRITTEN, 64).turns().word(TRANSFER_SIZE, 16).turns()
    yield "odd_position", Seed().start().word(DESCRIPTORS_WRITTEN, 19).turns().word(DESCRIPTORS_WRITTEN, 2047).turns()
    yield "far_positions", (Seed().word(DESCRIPTORS_WRITTEN, 0x80000000).word(LARGE_WRITTEN, 0x7fffffff)
                            .word(TRANSFER_SIZE, 0xffffffff).word(DESCRIPTORS_READ, 5).word(LARGE_READ, 7)
                            .turns(9))
    yield "settings", (Seed().start().word(BUFFER_SIZE, 1).word(FLUSH_INTERVAL, 0).word(MODE, 2)
                       .word(STATE, 9).word(IN_ERROR, 1).small(packet(1, b"ab")).turns().word(MODE, 3)
                       .large(packet(2)).turns())
    yield "written_while_read", (Seed().small(bytes(4) + packet(1, bytes(30))).turns(0)
                                 .step(b"b", struct.pack("<IH", BUFFER_OFFSET, 8) + bytes(8)).turns()
                                 .word(FIRST_DESCRIPTOR, 0xffffffff).turns())
    yield "replies", (Seed().reply(100).word(REPLY_READ, 100).reply(5000).reply(2 * BUFFER - 1)
                      .reply(7).word(REPLY_READ, 4000).reply(70000).word(REPLY_READ, -5).reply(9))
    yield "lost", (Seed().reply(1001).step(b"e").word(REPLY_READ, 1001).step(b"e")
                   .word(REPLY_READ, 0x12345).step(b"e").step(b"x").word(REPLY_WRITTEN, 0).step(b"e"))


def _large_in_parts():
    return (Seed().start().small(packet(5, size=700_008)).turns().word(TRANSFER_SIZE, 700_000)
            .word(LARGE_WRITTEN, 700_000).turns())


def _grows():
    seed = Seed().start().small(packet(1, size=3_000_000)).turns()
    for _ in range(3):
        seed.descriptor(0, BUFFER).turns()
    return seed.turns()


def _shrinks():
    seed = Seed().start().step(b"f", struct.pack("<BI", 8, BUFFER)).small(
        packet(1, size=8 + 3 * BUFFER)).turns()
    for _ in range(3):
        seed.descriptor(0, BUFFER).turns()
    return seed.small(packet(2)).turns()


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus" / "gfxstream_ring"
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds():
        (folder / name).write_bytes(seed.data)


if __name__ == "__main__":
    main()
