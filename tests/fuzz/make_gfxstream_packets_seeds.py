# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of gfxstream_packets_fuzzer, in its form: the longest packet of each
command that guests were recorded to send. Others in the folder were kept from hunts. Needs vk.xml.

    python3 make_gfxstream_packets_seeds.py REGISTRY [FOLDER]
"""

import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "codegen"))
# pylint: disable=wrong-import-position
from generate import load_model

RECORDED = HERE.parent / "unit" / "gfxstream" / "recorded_packets.txt"
KIND_RECORDED, KINDS, FILLINGS = 2, 3, 5


def parameters(text):
    """Their bytes: hexadecimal, with (N) for N zero bytes."""
    text = re.sub(r"\((\d+)\)", lambda zeros: "00" * int(zeros[1]), text)
    return b"" if text == "-" else bytes.fromhex(text)


def recorded():
    """(command, parameters) of each packet."""
    for line in RECORDED.read_text().splitlines():
        if not line.startswith("#"):
            command, _, text = line.split()
            yield command, parameters(text)


def seed(place, kind, data):
    """The fuzzer takes its numbers from the end: first the command, then the kind."""
    return data + bytes([kind]) + struct.pack("<H", place)


def seeds(model):
    places = {command.name: index for index, command in enumerate(model.commands)}
    longest = {}
    for command, data in recorded():
        longest[command] = max(longest.get(command, b""), data, key=len)
    for command, data in longest.items():
        yield command, seed(places[command], KIND_RECORDED, data)
    for filling in range(1, FILLINGS):  # of the arena
        yield f"filled_{filling}", seed(places["vkCreateDevice"], KIND_RECORDED + KINDS * filling,
                                        longest["vkCreateDevice"])


def main():
    model = load_model(sys.argv[1])
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "corpus" / "gfxstream_packets"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds(model):
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
