# SPDX-License-Identifier: Apache-2.0
"""mkcpio.py OUTPUT GUEST_PATH=HOST_FILE...: an initramfs overlay, to append to an image with cat."""

import pathlib
import sys

from initramfs import overlay


def main():
    if len(sys.argv) < 3 or not all("=" in argument for argument in sys.argv[2:]):
        print(__doc__, file=sys.stderr)
        return 2
    files = dict(argument.split("=", 1) for argument in sys.argv[2:])
    pathlib.Path(sys.argv[1]).write_bytes(overlay(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
