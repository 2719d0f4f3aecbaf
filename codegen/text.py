# SPDX-License-Identifier: Apache-2.0
"""Small things that all emitters need."""

HEAD = "// SPDX-License-Identifier: Apache-2.0\n// Made by codegen/generate.py; edit that.\n"
NAMESPACE = "namespace swede::gfxstream::vulkan {\n"
END = "\n}  // namespace swede::gfxstream::vulkan\n"


def header(body, *includes):
    return HEAD + "#pragma once\n\n" + _includes(includes) + NAMESPACE + body + END


def source(body, *includes):
    return HEAD + _includes(includes) + NAMESPACE + body + END


def _includes(names):
    return "".join(f"#include {name}\n" for name in names) + ("\n" if names else "")


def c_type(member):
    """As the registry declares it, without its name."""
    if member.pointers == 2:
        return f"const {member.type}* const*" if member.const else f"{member.type}**"
    return ("const " if member.const and member.pointers else "") + member.type + (
        "*" * member.pointers)
