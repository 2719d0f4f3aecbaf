#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of control_commands_fuzzer: what a console, a 3D client and a reboot do.

    make_control_commands_seeds.py DIRECTORY

The format is the fuzzer's own (Input and Run in control_commands_fuzzer.cpp): steps of one byte,
commands by their place in the table of commands.
"""

import pathlib
import sys

COMMANDS = [
    "display_info", "create_2d", "unref", "set_scanout", "flush", "transfer_2d", "attach_backing",
    "detach_backing", "capset_info", "capset", "edid", "uuid", "create_blob", "scanout_blob",
    "ctx_create", "ctx_destroy", "ctx_attach", "ctx_detach", "create_3d", "to_host_3d",
    "from_host_3d", "submit", "map", "unmap", "update_cursor", "move_cursor"]

FENCE, RING, ENTRIES, TAIL, CUT, ROOM = 1, 2, 4, 8, 16, 32
TURN, RAW, ANSWER, RENDERER, REPORT, RESET, CONFIG, PLUG, LOOK, PAGES = range(10, 20)


def word(value):
    if value < 0xfc:
        return bytes([value])
    if value % 4096 == 0 and value // 4096 < 256:
        return bytes([0xfe, value // 4096])
    if value < 0x10000:
        return b"\xfd" + value.to_bytes(2, "little")
    return b"\xff" + (value & 0xffffffff).to_bytes(4, "little")


def command(name, *words, ctx=0, fence=None, ring=None, entries=(), tail=b"", cut=None,
            room=None):
    shape = (FENCE if fence is not None else 0) | (RING if ring is not None else 0)
    shape |= (ENTRIES if entries else 0) | (TAIL if tail else 0)
    shape |= (CUT if cut is not None else 0) | (ROOM if room is not None else 0)
    out = bytes([0, COMMANDS.index(name), shape, ctx])
    if fence is not None:
        out += bytes([fence, ring or 0])
    out += b"".join(word(value) for value in words)
    if entries:
        out += bytes([len(entries)])
        out += b"".join(bytes([page]) + word(length) for page, length in entries)
    if tail:
        out += bytes([len(tail)]) + tail
    if cut is not None:
        out += bytes([cut])
    if room is not None:
        out += bytes([room])
    return out


def ctx_create(ctx, capset=63):
    return command("ctx_create", 4, capset, *[0x61] * 16, ctx=ctx)


def host_blob(resource, size, ctx=1):
    return command("create_blob", resource, 2, 1, 0, resource, 0, size, 0, ctx=ctx)


def guest_blob(resource, pages):
    return command("create_blob", resource, 1, 2, 1, 0, 0, pages * 4096, 0,
                   entries=[(100, pages * 4096)])


def scanout_blob(resource, side, scanout=0, shape=2, stride=None, width=None, y=0):
    return command("scanout_blob", 0, y, side, side, scanout, resource, width or side,
                   0xffffffff if y else side, shape, 0, side * 4 if stride is None else stride,
                   0, 0, 0, 0, 0, 0, 0)


CONSOLE = (command("display_info") + command("edid", 0, 0) +
           command("create_2d", 1, 1, 64, 64) +
           command("attach_backing", 1, 1, entries=[(90, 16384)]) +
           command("set_scanout", 0, 0, 64, 64, 0, 1) +
           command("transfer_2d", 0, 0, 64, 64, 0, 0, 1, 0, fence=1) +
           command("flush", 0, 0, 64, 64, 1, 0, fence=2) + bytes([LOOK]) +
           command("update_cursor", 0, 5, 5, 0, 1, 3, 3, 0) +
           command("move_cursor", 0, 6, 6, 0, 1, 0, 0, 0) + command("uuid", 1, 0))
BLOBS = (guest_blob(2, 4) + bytes([TURN]) + scanout_blob(2, 64) + bytes([TURN]) +
         command("flush", 0, 0, 64, 64, 2, 0) + bytes([LOOK]) +
         command("update_cursor", 0, 5, 5, 0, 2, 3, 3, 0) + bytes([TURN]) +
         command("unref", 2, 0))
CLIENT = (command("capset_info", 0, 0) + command("capset", 63, 0) + ctx_create(1) +
          bytes([TURN]) + command("submit", 8, 0, ctx=1, tail=b"commands") +
          command("submit", 4, 0, ctx=1, fence=7, ring=1, tail=b"more"))
MAPPED = (host_blob(3, 8192) + bytes([TURN]) + command("ctx_attach", 3, 0, ctx=1) +
          command("map", 3, 0, 4096, 0) + bytes([TURN]) + scanout_blob(3, 32) + bytes([TURN]) +
          command("unmap", 3, 0) + bytes([TURN]) + command("map", 3, 0, 0, 0) + bytes([TURN]))
TEXTURES = (command("create_3d", 4, 2, 1, 8, 16, 16, 1, 1, 0, 0, 0, 0) + bytes([TURN]) +
            command("attach_backing", 4, 1, entries=[(80, 4096)]) +
            command("ctx_attach", 4, 0, ctx=1) +
            command("to_host_3d", 0, 0, 0, 16, 16, 1, 0, 0, 4, 0, 0, 0, ctx=1, fence=9) +
            command("from_host_3d", 0, 0, 0, 16, 16, 1, 0, 0, 4, 0, 0, 0, ctx=1) +
            bytes([TURN]) + command("detach_backing", 4, 0) + command("ctx_detach", 4, 0, ctx=1))


def hold(call):
    return bytes([RENDERER, call | 0x80, 0])


OFF = (command("set_scanout", 0, 0, 0, 0, 0, 0) + scanout_blob(0, 64) +
       command("update_cursor", 0, 0, 0, 0, 0, 0, 0, 0))
WRONG_IDS = (command("unref", 9, 0) + command("flush", 0, 0, 8, 8, 9, 0) +
             command("set_scanout", 0, 0, 8, 8, 0, 9) + command("uuid", 9, 0) +
             command("transfer_2d", 0, 0, 8, 8, 0, 0, 9, 0) + command("detach_backing", 9, 0) +
             command("attach_backing", 9, 1, entries=[(90, 4096)]) +
             command("update_cursor", 0, 5, 5, 0, 9, 3, 3, 0) + command("map", 9, 0, 0, 0) +
             command("unmap", 9, 0) + command("edid", 9, 0) + command("capset_info", 9, 0) +
             command("capset", 9, 0) + command("move_cursor", 9, 0, 0, 0, 0, 0, 0, 0))
WRONG_LAYOUTS = (guest_blob(2, 4) + bytes([TURN]) + scanout_blob(2, 64, shape=99) +
                 scanout_blob(2, 64, width=63) + scanout_blob(2, 64, stride=255) +
                 scanout_blob(2, 64, stride=0xffffffff, width=0x3fffffff, y=0xfffffff0) +
                 command("create_2d", 1, 99, 64, 64) + command("create_2d", 1, 1, 32, 64) +
                 command("update_cursor", 0, 5, 5, 0, 1, 3, 3, 0))
WRONG_SIZES = (command("edid", 0, 0, cut=20) + command("edid", 0, 0, cut=28) +
               command("edid", 0, 0, room=24) + command("edid", 0, 0, room=10) +
               command("flush", 0, 0, 8, 8, 9, 0, room=7) +
               command("attach_backing", 1, 9, entries=[(90, 4096)]) +
               command("attach_backing", 1, 0xffffffff, entries=[(90, 4096)]))
WRONG_SUBMITS = (CLIENT + command("submit", 9, 0, ctx=1, tail=b"commands") +
                 command("submit", 0xffffffff, 0, ctx=1, fence=3) +
                 command("submit", 4, 0, ctx=3, tail=b"none"))
WRONG_MAPS = (CLIENT + host_blob(3, 8192) + host_blob(4, 8192) + bytes([TURN]) +
              command("map", 3, 0, 4096, 0) + bytes([TURN]) + command("map", 3, 0, 0, 0) +
              command("map", 4, 0, 8192, 0) + command("map", 4, 0, 1, 0) +
              command("map", 4, 0, 61440, 0) + command("map", 4, 0, 0, 1) +
              command("unmap", 4, 0) + guest_blob(2, 4) + command("map", 2, 0, 0, 0))
MANY_MAPS = (CLIENT + b"".join(host_blob(i, 4096) + bytes([TURN]) +
                               command("map", i, 0, i * 4096, 0) + bytes([TURN])
                               for i in range(1, 9)))
BUSY = bytes([RENDERER, 0x80, 1])  # fences are reported when a step says so
BURST = CLIENT + BUSY + b"".join(command("submit", 4, 0, ctx=1, fence=i, ring=0, tail=b"work")
                                 for i in range(1, 46))

SEEDS = {
    "off": CONSOLE + OFF,
    "wrong_ids": WRONG_IDS + ctx_create(1) + WRONG_IDS,
    "wrong_layouts": WRONG_LAYOUTS,
    "wrong_sizes": CONSOLE + WRONG_SIZES,
    "wrong_submits": WRONG_SUBMITS,
    "wrong_maps": WRONG_MAPS,
    "many_maps": MANY_MAPS,
    "burst": BURST + command("ctx_destroy", ctx=1),
    "console": CONSOLE,
    "guest_blobs": BLOBS,
    "client": CLIENT + command("ctx_destroy", ctx=1),
    "mapped_blob": CLIENT + MAPPED + command("unref", 3, 0),
    "textures": CLIENT + TEXTURES,
    "all": CONSOLE + BLOBS + CLIENT + MAPPED + TEXTURES,
    "reboot": CONSOLE + CLIENT + MAPPED + bytes([RESET]) + CONSOLE + CLIENT,
    "held_create": hold(2) + CLIENT + MAPPED + bytes([ANSWER, 1]) + command("unref", 3, 0),
    "held_place": CLIENT + hold(6) + MAPPED + bytes([ANSWER, 1, ANSWER, 1]),
    "held_export": CLIENT + hold(5) + MAPPED + bytes([RESET]) + CONSOLE,
    "held_reset": CLIENT + hold(11) + bytes([RESET]) + CLIENT,
    "dropped": CLIENT + hold(2) + hold(7) + MAPPED + bytes([ANSWER, 0]) + TEXTURES,
    "late_fences": hold(0) + CLIENT + bytes([ANSWER, 1, REPORT, 2, REPORT, 1]) + CLIENT,
    "lost": CLIENT + MAPPED + bytes([REPORT, 4]) + CLIENT + command("ctx_destroy", ctx=1),
    "unplugged": CONSOLE + BLOBS + bytes([PLUG]) + CONSOLE + bytes([LOOK, PLUG]) + BLOBS,
    "resized": CONSOLE + bytes([CONFIG, 200, 100, 0, 0, 4, 4, 1, 0, 0, 0]) + CONSOLE,
    "failing": CLIENT + bytes([RENDERER, 6, 2, 1]) + MAPPED + bytes([RENDERER, 9, 2, 4]) + CLIENT,
    "raw": bytes([RAW, 0, 0, 1, 24]) + bytes(24) + bytes([RAW, 1, 0, 0, 56]) + bytes(56),
}
#: The first byte: outputs, no renderer (4), no window (8), few fences (16), few commands (32), a
#: window in the process (64), no features (128).
SETUPS = {"console": [2, 4], "all": [1, 8, 16, 32, 64, 128], "mapped_blob": [0, 8, 64],
          "late_fences": [16], "held_create": [32], "held_export": [0, 64], "burst": [0, 16, 32],
          "wrong_maps": [0, 64]}


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, steps in SEEDS.items():
        for setup in SETUPS.get(name, [0]):
            (directory / f"{name}_{setup}").write_bytes(bytes([setup]) + steps)


if __name__ == "__main__":
    main()
