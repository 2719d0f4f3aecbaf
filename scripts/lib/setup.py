# SPDX-License-Identifier: Apache-2.0
"""Command line of scripts/setup."""

import argparse
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
import host_packages
import parts
from cache import cache_root, locked
from report import Failure, say


def fill_cache(extra_images, extra_parts=()):
    if all(is_current() for is_current, _ in parts.steps(extra_images, extra_parts)):
        return False
    with locked("filling the cache"):
        for is_current, make in parts.steps(extra_images, extra_parts):
            if not is_current():
                make()
    return True


def known_path(name):
    if name == "kernel":
        return parts.kernel()
    return parts.paths()[name]


def main():
    parser = argparse.ArgumentParser(
        prog="setup", description="Installs what building and testing need, and fills the cache "
        f"({cache_root()}). Does nothing when all is there.")
    parser.add_argument("--print", metavar="NAME", choices=[*parts.paths(), "kernel"],
                        help="print the path of: %(choices)s; nothing is installed or fetched")
    parser.add_argument("--with-image", metavar="NAME", action="append", default=[],
                        choices=parts.EXTRA_IMAGES,
                        help="make this image too, which most uses do without: %(choices)s")
    for name, purpose in parts.EXTRA_PARTS.items():
        parser.add_argument(f"--with-{name}", dest="extra_parts", action="append_const",
                            const=name, default=[], help=f"fetch this too: {purpose}")
    arguments = parser.parse_args()
    try:
        if arguments.print:
            path = known_path(arguments.print)
            if not path.exists():
                raise Failure(f"{path} does not exist; run scripts/setup without options first")
            print(path)
            return 0
        started = time.monotonic()
        host_packages.install_missing_packages()
        if fill_cache(arguments.with_image, arguments.extra_parts):
            say(f"setup: all is there ({time.monotonic() - started:.0f} s)")
        return 0
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        say(f"setup: {failure}")
        return 1
    except KeyboardInterrupt:
        say("setup: interrupted; the next run goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main())
