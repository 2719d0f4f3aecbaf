# SPDX-License-Identifier: Apache-2.0
"""Writes gfxstream_packets.dict: what stands in packets and is hard to guess. Needs vk.xml."""

import pathlib
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "codegen"))
# pylint: disable=wrong-import-position
from generate import load_model


def token(name, data):
    return name + '="' + "".join(f"\\x{byte:02x}" for byte in data) + '"\n'


def main():
    model = load_model(sys.argv[1])
    lines = ["# SPDX-License-Identifier: Apache-2.0\n",
             "# Made by make_gfxstream_packets_dict.py. Heads of structures in a chain.\n"]
    for struct in model.extension_structs:
        stype = model.registry.stypes[struct.stype].to_bytes(4, "little")
        lines.append(token(struct.name, b"\0\0\0\1" + stype + stype))
    (REPOSITORY / "tests/fuzz/gfxstream_packets.dict").write_text("".join(lines))


if __name__ == "__main__":
    main()
