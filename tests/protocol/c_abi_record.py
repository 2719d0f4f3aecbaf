# SPDX-License-Identifier: Apache-2.0
"""What the C library's functions take and give, in text: python3 c_abi_record.py LIBRARY RECORD."""

import pathlib
import subprocess
import sys

INCLUDE = pathlib.Path(__file__).resolve().parents[2] / "include"


def record(library, path):
    """Only types of our headers, and nothing that depends on where or how the library was built."""
    subprocess.run(
        ["abidw", "--headers-dir", str(INCLUDE), "--drop-private-types", "--exported-interfaces-only",
         "--no-show-locs", "--no-comp-dir-path", "--no-corpus-path", "--no-elf-needed",
         "--type-id-style", "hash", "--out-file", str(path), str(library)], check=True)


if __name__ == "__main__":
    record(*sys.argv[1:])
