# SPDX-License-Identifier: Apache-2.0
"""Compares what generate.py writes into the product with the SHA-256 in golden.sha256: a change of
the generator that should change nothing must show it. `--update` writes the new one."""

import argparse
import hashlib
import sys

from generate import HERE, load_model, product_files

GOLDEN = HERE / "golden.sha256"


def digest(registry):
    total = hashlib.sha256()
    for name, text in sorted(product_files(load_model(registry)).items()):
        total.update(f"{name}\n{text}".encode())
    return total.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", required=True, help="vk.xml")
    parser.add_argument("--update", action="store_true", help="accept what is generated now")
    arguments = parser.parse_args()
    found = digest(arguments.registry)
    if arguments.update:
        GOLDEN.write_text(found + "\n")
        return
    expected = GOLDEN.read_text().strip()
    if found != expected:
        sys.exit(f"The generated code has the SHA-256 {found}, expected is {expected}. If the "
                 "change is meant, run: codegen/check_golden.py --update --registry "
                 '"$(scripts/setup --print vulkan-registry)"')


if __name__ == "__main__":
    main()
