# SPDX-License-Identifier: Apache-2.0
"""The tables of layout.h: fields of structures and of commands' arguments; argument structures."""

from text import END, HEAD, NAMESPACE, c_type, header

FLAGS = {"kMarker": 1, "kOutput": 2, "kMayBeNull": 4, "kIgnorable": 8, "kCopied": 16,
         "kRequired": 32}
LAYOUT_FLAGS = {"kRaw": 1, "kDropped": 2, "kNotOffered": 4}
KINDS = ["kPlain", "kIgnored", "kSize", "kHandle", "kHandles", "kObject", "kStructs", "kNext",
         "kString", "kStrings", "kArray", "kPrefix", "kNoAllocator"]


def all_layouts(model):
    return sorted(model.layouts.values(), key=lambda layout: layout.name) + [
        command.layout for command in model.commands]


def argument_member(model, command, parameter):
    """Declaration of a parameter in `struct args::vkX`."""
    field = command.field(parameter.name)
    kind = model.registry.type_name(parameter.type)
    if parameter.type == "VkAllocationCallbacks":
        return None
    if field and field.kind == "kObject":
        return f"Object* {parameter.name};"
    if field and field.element == "kObject":
        return f"Object* const* {parameter.name};"
    if parameter.is_output and kind in model.registry.handles:
        return f"uint64_t* {parameter.name};"
    if parameter.dimensions:
        return f"{parameter.type} {parameter.name}[{parameter.elements}];"
    return f"{c_type(parameter)} {parameter.name};"


def header_text(model):
    """LayoutId and what every user of decoded arguments needs."""
    lines = ["\n/// Index into kLayouts: structures, then arguments of commands.\n",
             "enum class LayoutId : uint16_t {\n",
             *(f"    {layout.name},\n" for layout in all_layouts(model)), "};\n",
             f"inline constexpr size_t kLayoutCount = {len(all_layouts(model))};\n",
             "/// Device extensions that may be offered: a guest that has them sends nothing that\n"
             "/// is unknown here. Sorted.\n",
             "inline constexpr const char* kKnownDeviceExtensions[] = {\n",
             *(f'    "{name}",\n' for name in sorted(model.known_device_extensions)), "};\n"]
    return header("".join(lines), '"gfxstream/vulkan/layout.h"')


def arguments_header(model):
    lines = ["namespace args {\n\n// Decoded arguments: objects for handles, guest ids where the "
             "command makes objects.\n"]
    for command in model.commands:
        members = [argument_member(model, command, parameter)
                   for parameter in command.command.parameters[1 if command.self_type else 0:]]
        lines.append(f"struct {command.name} {{\n    Object* self;\n"
                     + "".join(f"    {member}\n" for member in members if member) + "};\n"
                     f"static_assert(sizeof({command.name}) == {command.layout.size});\n")
    return header("".join(lines) + "\n}  // namespace args\n", "<vulkan/vulkan_core.h>",
                  '"gfxstream/vulkan/object.h"')


def _field(field):
    flags = sum(FLAGS[flag] for flag in field.flags)
    if field.kind == "kStructs" or field.element == "kStruct":
        kind = f"S({field.type})"
    elif {field.kind, field.element} & {"kHandle", "kHandles", "kObject"}:
        kind = f"O({field.type[2:]})"
    else:
        kind = str(field.alignment)
    return (f"{{K::{field.kind}, E::{field.element}, {flags}, L::{field.length}, {field.offset}, "
            f"{field.length_offset}, {kind}, C::{field.condition}, {field.nested}, {field.size}}},")


def source_text(model):
    registry = model.registry
    layouts = all_layouts(model)
    lines = [HEAD, '#include "gfxstream/vulkan/generated/layouts.h"\n\n'
             "#include <algorithm>\n#include <iterator>\n\n"
             '#include "gfxstream/vulkan/generated/gfxstream_structs.h"\n\n', NAMESPACE,
             "namespace {\n\nusing K = Kind;\nusing E = Element;\nusing L = Length;\n"
             "using C = Condition;\n"
             "#define S(name) static_cast<uint16_t>(LayoutId::name)\n"
             "#define O(name) static_cast<uint16_t>(ObjectType::k##name)\n\n"
             "static_assert(sizeof(void*) == 8 && sizeof(size_t) == 8);\n"]
    for name, layout in sorted(model.layouts.items()):
        lines.append(f"static_assert(sizeof({name}) == {layout.size});\n")
    lines.append("\n}  // namespace\n\nconst Field kFields[] = {\n")
    rows, first = [], 0
    for layout in layouts:
        lines.append(f"    // {layout.name}\n" if layout.fields else "")
        lines += [f"    {_field(field)}\n" for field in layout.fields]
        struct = registry.structs.get(layout.name)
        stype = registry.stypes[struct.stype] if struct and struct.stype else 0
        flags = sum(LAYOUT_FLAGS[flag] for flag in layout.flags)
        rows.append(f'    {{"{layout.name}", {stype}, {layout.wire_minimum}, {first}, '
                    f"{len(layout.fields)}, {layout.size}, {layout.alignment}, {flags}}},\n")
        first += len(layout.fields)
    assert first < 65536
    lines += ["};\n\nconst Layout kLayouts[] = {\n", *rows, "};\n", _extensions(model),
              _command_layouts(model), _object_names(model), "#undef S\n#undef O\n", END]
    return "".join(lines)


def _extensions(model):
    rows = [f"    S({struct.name}),\n" for struct in model.extension_structs]
    return ("\nnamespace {\n\nconstexpr uint16_t kExtensions[] = {  // by sType\n" + "".join(rows)
            + "};\n\n}  // namespace\n\nconst Layout* find_extension(uint32_t stype) {\n"
            "    const auto* const found = std::ranges::lower_bound(\n"
            "        kExtensions, stype, {}, [](uint16_t id) { return kLayouts[id].stype; });\n"
            "    if (found == std::end(kExtensions) || kLayouts[*found].stype != stype) {\n"
            "        return nullptr;\n    }\n    return &kLayouts[*found];\n}\n")


def commands_by_opcode(model):
    rows = sorted((model.opcode(name), command) for command in model.commands
                  for name in command.names)
    assert len({opcode for opcode, _ in rows}) == len(rows)
    return rows


def _command_layouts(model):
    rows = commands_by_opcode(model)
    lines = ["\nconst CommandLayout kCommandLayouts[] = {\n"]
    for opcode, command in rows:
        self_type = command.self_type[2:] or "None"
        lines.append(f"    {{{opcode}, LayoutId::{command.name}, ObjectType::k{self_type}}},\n")
    lines.append(f"}};\nconst size_t kCommandLayoutCount = {len(rows)};\n")
    return "".join(lines)


def _object_names(model):
    names = "".join(f'    "{name}",\n' for name in model.handles)
    return ('\nnamespace {\n\nconstexpr const char* kObjectNames[] = {\n    "none",\n'
            f"{names}}};\n"
            "\n}  // namespace\n\nconst char* name_of(ObjectType type) {\n"
            "    return kObjectNames[static_cast<size_t>(type)];\n}\n")
