# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of cross_domain_commands_fuzzer and compositor_fuzzer: what guests' programs and
compositors say, in the fuzzers' form.

    python3 make_cross_domain_seeds.py [FOLDER]
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "protocol"))
# pylint: disable=wrong-import-position
from cross_domain_client import (
    BLOB, GET_IMAGE_REQUIREMENTS, INIT, READ_PIPE, WRITE, command, fourcc, send_command)

QUERY, CHANNEL = 10, 11
DMA_BUFS, IN_WINDOW = 1, 2  # CrossDomainWorld::Memory


class Seed:
    """FuzzedDataProvider takes numbers from the end of the data and bytes from its front."""

    def __init__(self):
        self.front = b""
        self.back = []

    def number(self, value, size=1):
        self.back.append(value.to_bytes(size, "little"))
        return self

    def step(self, kind):
        return self.number(kind)

    def bytes(self, data, size=2):
        """`size`: bytes that the length's range takes."""
        self.front += data
        return self.number(len(data), size)

    def data(self):
        return self.front + b"".join(reversed(self.back))


def guest(memory=0):
    return Seed().number(memory)


def commands():
    image = command(GET_IMAGE_REQUIREMENTS, struct.pack("<4I", 64, 1, fourcc("R8"), 0x11))
    planes = command(GET_IMAGE_REQUIREMENTS, struct.pack("<4I", 64, 48, fourcc("NV12"), 0x11))
    write = command(WRITE, struct.pack("<4I", 2, 0, 4, 0) + b"text")
    hang_up = command(WRITE, struct.pack("<4I", 2, 1, 0, 0))
    event = command(11, struct.pack("<II", 2, 0))
    yield "connect", guest().step(0)
    yield "inits", guest().step(1).bytes(command(INIT, struct.pack("<II", CHANNEL, 1))).step(9).step(1).bytes(
        command(INIT, struct.pack("<IIII", QUERY, CHANNEL, 1, 1))).step(9).step(1).bytes(
            command(INIT, struct.pack("<III16x", QUERY, CHANNEL, 1))).step(9).step(1).bytes(
                command(INIT, struct.pack("<III", QUERY, CHANNEL, 0)))
    yield "image", guest().step(0).step(1).bytes(image).step(1).bytes(planes).step(5).number(0).number(2).number(
        4096, 2).step(1).bytes(send_command(b"pool", [(50, BLOB)])).step(6).number(0)
    yield "paste", guest().step(0).step(1).bytes(send_command(b"receive", [(0x80000001, READ_PIPE)])).step(3)
    yield "old", guest().step(0).step(1).bytes(send_command(b"old", [(0x80000001, READ_PIPE)], count=4))
    yield "copy", guest().step(0).step(7).number(4).bytes(b"send", 1).step(3).step(1).bytes(write).step(1).bytes(hang_up)
    yield "event", guest().step(0).step(7).number(5).bytes(b"event", 1).step(3).step(1).bytes(event).step(3)
    yield "keymap", guest().step(0).step(7).number(2).bytes(b"map", 1).step(3).step(5).number(0).number(2).number(5000, 2)
    yield "both", guest().step(0).step(2).bytes(send_command(b"one") + send_command(b"two"))
    yield "end", guest().step(0).step(3).step(8).step(3)
    wrong = guest().step(1).bytes(image).step(1).bytes(send_command(b"early"))
    for size, words in ((20, (99, CHANNEL, 1)), (20, (QUERY, 99, 1)), (20, (QUERY, CHANNEL, 2)), (28, (QUERY, CHANNEL, 1))):
        wrong.step(1).bytes(command(INIT, struct.pack("<3I", *words).ljust(size - 8, b"\0")))
    wrong.step(2).bytes(command(INIT, bytes(12))[:10]).step(2).bytes(b"\x05\0\x08\0\0\0\0\0").step(2).bytes(
        b"\xff\0\x08\0\0\0\0\0").step(2).bytes(b"\x03\0\xff\xff\0\0\0\0")
    yield "wrong_before", wrong
    wrong = guest().step(0).step(0)
    for width, height, name in ((0, 1, "R8"), (8, 8, "ZZ99"), (1 << 31, 1 << 31, "AR24"), (1 << 31, 2, "NV12"),
                                (1 << 30, 1, "AB4H"), (4, 4, "XR24")):
        wrong.step(1).bytes(command(GET_IMAGE_REQUIREMENTS, struct.pack("<4I", width, height, fourcc(name), 0x11)))
    wrong.step(5).number(0).number(2).number(1, 2).step(5).number(1).number(9).number(4096, 2).step(5).number(2).number(
        2).number(0, 2)
    yield "wrong_images", wrong
    wrong = guest().step(0).step(1).bytes(send_command(b"first")).step(1).bytes(send_command(b"", [(50, BLOB)])).step(
        1).bytes(send_command(b"sync", [(50, 2)])).step(1).bytes(send_command(b"none", [(51, BLOB)])).step(1).bytes(
            command(4, struct.pack("<II", 29, 0) + bytes(336))).step(1).bytes(
                command(4, struct.pack("<II", 0, 9) + bytes(336))).step(1).bytes(
                    command(4, struct.pack("<II", 0, 5000) + bytes(336))).step(1).bytes(send_command(b""))
    yield "wrong_sends", wrong
    yield "wrong_first_send", guest().step(0).step(1).bytes(command(4, struct.pack("<II", 0, 3) + bytes(100)))
    yield "wrong_writes", guest().step(0).step(1).bytes(write).step(7).number(5).bytes(b"event", 1).step(3).step(1).bytes(
        write).step(1).bytes(event).step(1).bytes(hang_up).step(1).bytes(hang_up).step(4).number(7).step(4).number(1)
    yield "blobs_of_files", guest().step(0).step(7).number(0).bytes(b"a", 1).step(3).step(7).number(1).bytes(
        b"b", 1).step(3).step(5).number(0).number(2).number(0, 2).step(5).number(1).number(2).number(5000, 2).step(
            5).number(2).number(3).number(5000, 2).step(1).bytes(send_command(b"back", [(51, BLOB)])).step(12).number(
                1).step(6).number(1)
    yield "blobs_of_pages", guest().step(0).step(7).number(8).bytes(b"a", 1).step(3).step(5).number(0).number(2).number(
        8192, 2).step(12).number(0).step(6).number(0).step(7).number(8).bytes(b"b", 1).step(3).step(5).number(0).number(
            3).number(9000, 2)
    yield "dma_buf", guest(DMA_BUFS).step(0).step(1).bytes(planes).step(5).number(0).number(2).number(20480, 2).step(
        1).bytes(send_command(b"image", [(50, BLOB)])).step(6).number(0)
    yield "window", guest(IN_WINDOW).step(0).step(1).bytes(image).step(5).number(0).number(2).number(4096, 2).step(
        10).number(0).step(1).bytes(send_command(b"pool", [(50, BLOB)])).step(11).number(0).step(10).number(0).step(
            6).number(0)
    yield "keymap_in_window", guest(IN_WINDOW).step(0).step(7).number(0).bytes(b"map", 1).step(3).step(5).number(
        0).number(2).number(5000, 2).step(10).number(0).step(11).number(0)


def compositors():
    yield "words", Seed().number(0).step(0).number(0).number(99, 2).step(0).number(0).number(5000, 2)
    yield "few", Seed().number(1).step(0).number(6).number(50, 2)
    yield "files", Seed().number(0).step(0).number(30).number(99, 2)
    yield "end", Seed().number(0).step(0).number(1).number(9, 2).number(3).step(3)
    yield "write", Seed().number(0).step(0).number(1).number(9, 2).number(4).step(4).number(2).number(0).step(
        4).number(2).number(1)
    yield "blob", Seed().number(0).step(0).number(1).number(9, 2).number(0).step(5).number(2).number(5000, 2)
    yield "event", Seed().number(0).step(0).number(1).number(9, 2).number(5).step(6).number(2).step(7)
    yield "tell", Seed().number(0).step(8).number(9).number(99, 2).number(0).step(9)
    yield "tell_too_much", Seed().number(0).step(8).number(199).number(2999, 2).number(0).step(9).step(8).number(
        199).number(2999, 2).number(0)
    yield "paste", Seed().number(0).step(8).number(0).number(9, 2).number(1).step(9).step(10).number(3).step(11)
    yield "paste_to_few", Seed().number(1).step(8).number(0).number(9, 2).number(1).step(9).step(10).number(5).step(9)
    yield "two_pastes", Seed().number(0).step(8).number(0).number(9, 2).number(1).step(8).number(0).number(9, 2).number(
        1).step(9).step(10).number(3).step(10).number(4).step(9).step(11).step(9).step(10).number(2).step(11).step(9).step(9)
    yield "events_and_paste", Seed().number(0).step(0).number(1).number(9, 2).number(5).step(6).number(2).step(6).number(
        2).step(7).step(9).step(7).step(8).number(0).number(9, 2).number(1).step(9).step(10).number(3).step(9).step(
            4).number(2).number(0).step(4).number(2).number(1).step(6).number(9).step(9)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus"
    for fuzzer, seeds in (("cross_domain_commands", commands()), ("compositor", compositors())):
        (folder / fuzzer).mkdir(parents=True, exist_ok=True)
        for name, seed in seeds:
            (folder / fuzzer / name).write_bytes(seed.data())


if __name__ == "__main__":
    main()
