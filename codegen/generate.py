# SPDX-License-Identifier: Apache-2.0
"""Writes the C++ of gfxstream's Vulkan protocol: src/gfxstream/vulkan/generated/ of a build."""

import argparse
import hashlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
import emit_commands
import emit_guest
import emit_headers
import emit_layouts
import emit_null_driver
from model import Model
from registry import Registry

HERE = pathlib.Path(__file__).resolve().parent


def load_model(registry_path):
    fixed = {}
    for line in (HERE / "opcodes.txt").read_text().splitlines():
        number, name = line.split()
        fixed[name] = int(number)
    extensions = (HERE / "guest_extensions.txt").read_text().split()
    return Model(Registry(registry_path), fixed, extensions)


def product_files(model):
    """Name -> text of what goes into the product."""
    return {
        "object_type.h": emit_headers.object_type(model),
        "dispatch.h": emit_headers.dispatch_header(model),
        "dispatch.cpp": emit_headers.dispatch_source(model),
        "session_handlers.inc": emit_headers.session_handlers(model),
        "gfxstream_structs.h": emit_headers.private_structs(model),
        "arguments.h": emit_layouts.arguments_header(model),
        "layouts.h": emit_layouts.header_text(model),
        "layouts.cpp": emit_layouts.source_text(model),
        **emit_commands.files(model),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", required=True, help="vk.xml")
    parser.add_argument("--sha256", help="of the registry; another one is refused")
    parser.add_argument("--guest", action="store_true",
                        help="write the guest's side, for tests, instead of the product's")
    parser.add_argument("--null-driver", action="store_true",
                        help="write a driver for tests that does nothing, instead")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    if arguments.sha256:
        with open(arguments.registry, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != arguments.sha256:
            sys.exit(f"generate: {arguments.registry} has the SHA-256 {found}, "
                     f"expected is {arguments.sha256}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    make = (emit_guest.files if arguments.guest else
            emit_null_driver.files if arguments.null_driver else product_files)
    for name, text in make(load_model(arguments.registry)).items():
        (arguments.output / name).write_text(text)


if __name__ == "__main__":
    main()
