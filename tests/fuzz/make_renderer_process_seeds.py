#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes seeds of renderer_process_fuzzer: what a stub and a renderer, good or bad, say to each other.

    make_renderer_process_seeds.py DIRECTORY

The format is that of libFuzzer's FuzzedDataProvider: bytes are taken from the front, numbers from
the end, so each seed is kept as these two parts until it is written.
"""

import pathlib
import struct
import sys

CONTEXT, _, DESTROY_CONTEXT, ATTACH, DETACH, BLOB, _, CREATE_3D, ATTACH_BACKING, DETACH_BACKING, \
    DESTROY, EXPORT, _, PLACE, FENCE, SUBMIT, SETTLE, TRANSFER, OTHER = range(19)
SEALED, UNSEALED, ONE_PAGE, DEVICE, NO_MEMORY = range(5)
HELLO, ANSWER, FENCES_DONE = 0x100, 0x101, 0x102


class Seed:
    """Steps of a hostile renderer, beside those of the device that it serves."""

    def __init__(self):
        self.front = b""
        self.numbers = bytearray([1])  # a hostile renderer, no device
        self.greet()

    def number(self, *values):
        self.numbers += bytes(values)
        return self

    def bytes(self, data):
        self.front += data
        return self.number(len(data))

    def greet(self, data=None):
        """Answers the start of a process: goes before the step that starts the next one ends."""
        return self.number(1) if data is None else self.number(0).bytes(data)

    def call(self, operation, context=1, resource=1):
        return self.number(0, context - 1, resource - 1, operation)

    def context(self, context=1, name=b"test"):
        self.front += name + b"\\."  # how a text of any length ends
        return self.call(CONTEXT, context)

    def backing(self, address=0):
        return self.number(*address.to_bytes(2, "big"))

    def attach(self, address=0):
        return self.call(ATTACH).backing(address)

    def blob(self, resource=1, size=4096, backed=False):
        self.call(BLOB, resource=resource).number(*(size - 1).to_bytes(2, "big"), int(backed))
        return self.backing() if backed else self

    def export(self, resource=1):
        return self.call(EXPORT, resource=resource)

    def place(self, resource=1, file=SEALED):
        return self.call(PLACE, resource=resource).number(0, file)

    def displace(self, resource=1):
        return self.call(PLACE, resource=resource).number(1)

    def submit(self, data=b"commands"):
        return self.call(SUBMIT).bytes(data)

    def transfer(self, to_host):
        return self.call(TRANSFER).number(int(to_host))

    def reset(self):
        return self.call(OTHER).number(0)

    def move_memory(self):
        return self.call(OTHER).number(1)

    def say(self, what, heard=0):
        return self.number(1, heard, what)

    def files(self, *files):
        for file in files:
            self.number(0, file)
        return self if len(files) == 2 else self.number(1)

    def answer(self, heard, *files, failed=0, code=0, map_info=0, halves=0, size=None, text=b""):
        """To the request whose header has this place among those heard."""
        self.say(0, heard).number(failed, code, map_info, halves)
        if size is None:
            self.number(1)
        else:
            self.number(0, *size.to_bytes(8, "big"))
        self.front += text
        if failed:
            self.number(len(text))
        return self.files(*files)

    def well(self):
        """The honest answer to what was asked last."""
        return self.say(2)

    def fences(self, ticket, *files):
        return self.say(3).number(ticket).files(*files)

    def lost(self, context=1, text=b""):
        return self.say(4).number(context - 1).bytes(text)

    def raw(self, data, *files):
        return self.say(5).bytes(data).files(*files)

    def turn_deaf(self):
        return self.say(6)

    def hang_up(self):
        return self.say(7)

    def made(self):
        """A context and a blob: the headers 1 and 2 of those heard, after guest memory's."""
        return self.context().well().blob().well()

    def data(self):
        return self.front + bytes(reversed(self.numbers))


def greeting(capsets, version=None, owns_3d=1, count=None):
    body = struct.pack("<IIII", 1 if version is None else version,
                       len(capsets) if count is None else count, owns_3d, 0)
    body += b"".join(struct.pack("<IIII", *capset, 0, 0) for capset in capsets)
    return struct.pack("<IIQ", HELLO, len(body), 0) + body


def greeted(data):
    seed = Seed()
    seed.numbers.pop()
    return seed.greet(data)


def told(data):
    return Seed().made().raw(data)


def message(kind, payload=b"", number=0):
    return struct.pack("<IIQ", kind, len(payload), number) + payload


def deaf(seed, count=30):
    seed.turn_deaf()
    for _ in range(count):
        seed.submit(b"more commands than it reads")
    return seed


FRESH = Seed().made().hang_up()
SEEDS = {
    "export": Seed().made().export().well().export().well().call(DESTROY).well(),
    "export_at_an_offset": Seed().made().export().answer(3, SEALED, halves=2),
    "export_of_a_page": Seed().made().export().answer(3, ONE_PAGE),
    "export_past_the_end": Seed().made().export().answer(3, ONE_PAGE, halves=2),
    "export_inside_a_page": Seed().made().export().answer(3, SEALED, halves=1),
    "export_too_small": Seed().made().export().answer(3, SEALED, size=4095),
    "export_that_can_shrink": Seed().made().export().answer(3, UNSEALED),
    "export_of_a_device": Seed().made().export().answer(3, DEVICE),
    "export_of_nothing": Seed().made().export().answer(3),
    "export_of_two": Seed().made().export().answer(3, SEALED, ONE_PAGE),
    "export_refused": Seed().made().export().answer(3, failed=1, code=3, text=b"No\x1b."),
    "export_before_a_reset": Seed().made().export().reset().answer(3, SEALED).well(),
    "place": Seed().made().place().well().displace().well(),
    "place_refused": Seed().made().place().answer(3, failed=1, code=200),
    "cache_type": Seed().context().well().blob().answer(2, map_info=4),
    "textures": (Seed().call(CREATE_3D).well().call(ATTACH_BACKING).backing().transfer(True).well()
                 .transfer(False).well().call(DETACH_BACKING).call(SETTLE).well()
                 .call(DESTROY).well()),
    "guest_blob": Seed().context().well().blob(backed=True).well().attach(8).call(DETACH),
    "memory_moves": Seed().move_memory().made().move_memory().attach().move_memory().well(),
    "fences": (Seed().made().call(FENCE).call(FENCE).fences(1).fences(2).fences(1)),
    "fences_with_a_file": Seed().made().call(FENCE).fences(1, SEALED),
    "fence_of_nothing": Seed().call(FENCE).fences(1),
    "half_a_fence": told(message(FENCES_DONE, b"1234")),
    "context_lost": Seed().made().call(FENCE).lost(text=b"gone").lost().submit(),
    "contexts_lost_too_often": Seed().made().lost(2).lost(2).lost(2),
    "settled": Seed().made().attach().call(DETACH).call(SETTLE).well(),
    "settled_at_the_end": Seed().made().hang_up().call(SETTLE).submit().call(DESTROY),
    "deaf": deaf(Seed().made()).blob(2).turn_deaf().well(),
    "deaf_to_backings": deaf(Seed().made()).attach(8).turn_deaf().fences(1),
    "deaf_to_textures": deaf(Seed().call(CREATE_3D).well().context()).call(ATTACH_BACKING)
                        .backing(64),
    "deaf_to_a_detach": deaf(Seed().made()).call(SETTLE),
    "deaf_to_a_reset": deaf(Seed().made()).reset(),
    "deaf_without_end": deaf(Seed().made(), 6).hang_up().submit(),
    "submit_too_long": Seed().made().submit(bytes(100)),
    "ended": Seed().made().hang_up().context(2).greet().well().context(3).well(),
    "ended_in_a_request": Seed().made().export().hang_up().call(DESTROY_CONTEXT).context().greet(),
    "answered_twice": Seed().made().answer(2),
    "answer_too_long": told(message(ANSWER, bytes(33), 9)),
    "reset": Seed().made().call(FENCE).reset().well().made(),
    "reset_refused": Seed().made().reset().answer(3, failed=1, code=1),
    "greeting": greeted(greeting([(30, 1)])).made(),
    "greeting_of_none": greeted(greeting([])).made(),
    "greeting_twice": Seed().raw(greeting([(30, 1)])),
    "greeting_of_another_version": greeted(greeting([(30, 1)], version=99)),
    "greeting_of_a_wrong_capset": greeted(greeting([(64, 1)])),
    "greeting_of_one_capset_twice": greeted(greeting([(5, 1), (5, 1)])),
    "greeting_without_its_capset": greeted(greeting([(5, 1)], count=2)),
    "greeting_too_long": greeted(greeting([(5, 1), (6, 1)], count=1)),
    "greeting_changes": FRESH.context(2).greet(greeting([(31, 1)])),
}


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        (directory / name).write_bytes(seed.data())


if __name__ == "__main__":
    main()
