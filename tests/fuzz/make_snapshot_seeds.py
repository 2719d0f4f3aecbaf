# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of snapshot_fuzzer: files that are good, and some with one thing wrong, in its form.

    python3 make_snapshot_seeds.py FOLDER
"""

import pathlib
import struct
import sys

GOOD_CHECKSUM, PIXELS, CUT, OCCUPIED = 1, 2, 4, 8
KIND_2D, KIND_GUEST_BLOB = 1, 2
MAGIC, VERSION = 0x31746F6F72445753, 1
MAX32, MAX64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def checksum(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & MAX64
    return struct.pack("<Q", value)


def picture(resource=1, width=4, height=4, *, form=1, pixels=True):
    record = struct.pack("<IIIIIIQ", resource, KIND_2D, form, width, height, 0, 0)
    return record + (bytes(i % 251 for i in range(width * height * 4)) if pixels else b"")


def blob(resource=2, size=4096, flags=1, *, kind=KIND_GUEST_BLOB):
    return struct.pack("<IIIIIIQ", resource, kind, 0, 0, 0, flags, size)


def seed(*records, kind=GOOD_CHECKSUM, units=0, count=None, magic=MAGIC, version=VERSION, tail=b""):
    count = len(records) if count is None else count
    return (bytes([kind, units]) + struct.pack("<QII", magic, version, count) + b"".join(records)
            + tail)


def with_its_checksum(data):
    """As the library writes it: nothing is made good."""
    return bytes([0, 0]) + data[2:] + checksum(data[2:])


SEEDS = {
    "empty": seed(),
    "picture": seed(picture()),
    "formats": seed(*(picture(form, 2, 2, form=form) for form in (1, 2, 3, 4, 67, 68, 121, 134))),
    "blob": seed(blob()),
    "several": seed(picture(1, 3, 5), blob(2, 5000, 3), picture(MAX32, 1, 1), blob(7, 1 << 40)),
    "out_of_order": seed(blob(9), picture(4), blob(1)),
    "own_checksum": with_its_checksum(seed(picture(), blob())),
    "wrong_checksum": seed(picture(), kind=0, tail=bytes(8)),
    "no_checksum": seed(picture(), kind=0),
    "two_pieces": seed(picture(1, 256, 300, pixels=False), kind=GOOD_CHECKSUM | PIXELS, units=150),
    "wide": seed(picture(1, 16384, 4, pixels=False), kind=GOOD_CHECKSUM | PIXELS, units=128),
    "pixels_end_early": seed(picture(1, 256, 300, pixels=False), kind=GOOD_CHECKSUM | PIXELS,
                             units=149),
    "too_large": seed(picture(1, 1024, 1024, pixels=False), kind=GOOD_CHECKSUM | PIXELS, units=255),
    "twice": seed(blob(3), blob(3)),
    "twice_2d": seed(picture(3), picture(3)),
    "many": seed(*(blob(number) for number in range(1, 18))),
    "count_too_large": seed(picture(), count=MAX32),
    "count_too_small": seed(picture(), blob(), count=1),
    "another_magic": seed(magic=MAGIC + 1),
    "another_version": seed(version=2),
    "unknown_kind": seed(blob(kind=3)),
    "no_size": seed(picture(1, 0, 4, pixels=False)),
    "huge": seed(picture(1, MAX32, MAX32, pixels=False)),
    "no_format": seed(picture(form=99)),
    "id_of_none": seed(blob(0)),
    "blob_of_nothing": seed(blob(1, 0)),
    "blob_of_all": seed(blob(1, MAX64)),
    "blob_flags": seed(blob(1, 4096, 64)),
    "cut": seed(picture(), kind=GOOD_CHECKSUM | CUT),
    "cut_in_pixels": seed(picture(1, 4, 4)[:-8], kind=CUT),
    "occupied": seed(picture(), kind=GOOD_CHECKSUM | OCCUPIED),
    "header_ends": seed()[:10],
}


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()
