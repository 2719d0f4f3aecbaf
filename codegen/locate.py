# SPDX-License-Identifier: Apache-2.0
"""Prints where the pinned Vulkan registry and its headers lie, and the registry's SHA-256: three
lines. They come from the cache that scripts/setup fills, or from a system that has the same."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripts" / "lib"))
# pylint: disable=wrong-import-position
import parts

SYSTEM = (pathlib.Path("/") / parts.VULKAN_REGISTRY, pathlib.Path("/usr/include"))


def main():
    cached = (parts.paths()["vulkan-registry"], parts.paths()["vulkan-headers"])
    for registry, headers in (cached, SYSTEM):
        if registry.exists() and parts.digest_of_file(registry) == parts.VULKAN_REGISTRY_SHA256:
            print(registry, headers, parts.VULKAN_REGISTRY_SHA256, sep="\n")
            return
    sys.exit("The Vulkan registry is not there; run scripts/setup, which fetches it, or set the "
             "Meson options vulkan_registry and vulkan_headers.")


if __name__ == "__main__":
    main()
