# SPDX-License-Identifier: Apache-2.0
"""Headers of what the hand-written code names: object types, dispatch tables, handlers."""

import annotations
import private_api
from text import HEAD, c_type, header, source

VULKAN = "<vulkan/vulkan_core.h>"


def object_type(model):
    names = [name[2:] for name in model.handles]
    lines = ["\n/// What kind of object a guest's id names.\n",
             "enum class ObjectType : uint8_t {\n    kNone,\n",
             *(f"    k{name},\n" for name in names),
             f"}};\ninline constexpr size_t kObjectTypeCount = {len(names) + 1};\n\n",
             "/// kObjectTypeOf<VkBuffer> is ObjectType::kBuffer.\n",
             "template <typename T>\n",
             "inline constexpr ObjectType kObjectTypeOf = ObjectType::kNone;\n",
             *(f"template <>\ninline constexpr ObjectType kObjectTypeOf<Vk{name}> = "
               f"ObjectType::k{name};\n" for name in names),
             "\n/// \"VkBuffer\".\n[[nodiscard]] const char* name_of(ObjectType type);\n"]
    return header("".join(lines), "<cstddef>", "<cstdint>", VULKAN)


def functions_of_tables(model):
    """(global, instance, device) functions, by their core names."""
    tables = ([], [], [])
    names = [command.name for command in model.commands if not command.name.endswith("GOOGLE")]
    names += annotations.HOST_FUNCTIONS
    for name in sorted(set(names)):
        command = model.registry.commands[name]
        first = command.parameters[0].type if command.parameters else ""
        index = {"VkInstance": 1, "VkPhysicalDevice": 1, "VkDevice": 2, "VkQueue": 2,
                 "VkCommandBuffer": 2}.get(first, 0)
        if command.parameters[0].pointers:
            index = 0
        if name == "vkGetDeviceProcAddr":
            index = 1
        tables[index].append(name)
    return tables


def dispatch_header(model):
    tables = functions_of_tables(model)
    texts = [
        ("GlobalFunctions", "What needs no instance.", "PFN_vkGetInstanceProcAddr get"),
        ("InstanceFunctions", "Functions of an instance and its physical devices.",
         "PFN_vkGetInstanceProcAddr get, VkInstance instance"),
        ("DeviceFunctions", "Functions of a device, its queues and command buffers.",
         "PFN_vkGetDeviceProcAddr get, VkDevice device")]
    lines = ["\n// Members are null where the driver has no such function under its own name "
             "or an\n// alias (an extension that is not enabled, say).\n"]
    for functions, (name, comment, parameters) in zip(tables, texts):
        lines.append(f"\n/// {comment}\nstruct {name} {{\n    void load({parameters});\n\n")
        lines += [f"    PFN_{function} {function} = nullptr;\n" for function in functions]
        lines.append("};\n")
    return header("".join(lines), VULKAN)


def dispatch_source(model):
    lines = ["namespace {\n\n/// Each line of `names`: the function and its aliases, by falling "
             "preference.\ntemplate <typename Get>\n"
             "void load_all(Get get, const char* const* names, size_t count, PFN_vkVoidFunction* to"
             ") {\n    for (size_t i = 0; i < count; ++i) {\n        char name[96];\n"
             "        for (const char* at = names[i]; *at != 0 && to[i] == nullptr;) {\n"
             "            const size_t length = std::strcspn(at, \" \");\n"
             "            std::memcpy(name, at, length);\n            name[length] = 0;\n"
             "            to[i] = get(name);\n            at += length;\n"
             "            if (*at == ' ') ++at;\n        }\n    }\n}\n\n"]
    aliases = {}
    for alias in sorted(model.registry.command_aliases):
        aliases.setdefault(model.registry.command_name(alias), []).append(alias)
    texts = [("Global", "PFN_vkGetInstanceProcAddr get", "VkInstance{}"),
             ("Instance", "PFN_vkGetInstanceProcAddr get, VkInstance instance", "instance"),
             ("Device", "PFN_vkGetDeviceProcAddr get, VkDevice device", "device")]
    loads = []
    for functions, (name, parameters, owner) in zip(functions_of_tables(model), texts):
        lines.append(f"constexpr const char* k{name}Names[] = {{\n")
        for function in functions:
            both = " ".join([function, *aliases.get(function, [])])
            lines.append(f'    "{both}",\n')
            assert all(len(part) < 96 for part in both.split())
        lines.append("};\n")
        count = len(functions)
        loads.append(
            f"\nvoid {name}Functions::load({parameters}) {{\n"
            f"    static_assert(sizeof(*this) == sizeof(PFN_vkVoidFunction) * {count});\n"
            f"    PFN_vkVoidFunction found[{count}] = {{}};\n"
            f"    load_all([&](const char* name) {{ return get({owner}, name); }}, k{name}Names, "
            f"{count},\n             found);\n"
            "    std::memcpy(static_cast<void*>(this), found, sizeof(found));\n}\n")
    lines.append("\n}  // namespace\n")
    return source("".join(lines + loads), '"gfxstream/vulkan/generated/dispatch.h"', "<cstring>")


def destroyer(model, handle):
    """The function that frees a handle of this type, or None."""
    name = annotations.DESTROYED_BY.get(handle, f"vkDestroy{handle[2:]}")
    return name if any(command.name == name for command in model.commands) and (
        handle not in annotations.NEVER_DESTROYED) else None


def private_structs(model):
    lines = ["\n// Structures of gfxstream alone.\n"]
    for name, (number, _) in private_api.STRUCTS.items():
        members = "".join(f"    {c_type(member)} {member.name};\n"
                          for member in model.registry.structs[name].members)
        lines.append(f"\ninline constexpr auto {private_api.stype_constant(name)} =\n"
                     f"    static_cast<VkStructureType>({number});\n"
                     f"struct {name} {{\n{members}}};\n")
    return header("".join(lines), "<cstdint>", VULKAN)


def handler_parameters(command):
    """How a handler of Session sees the parameters, without Call and self."""
    texts = []
    for parameter in command.parameters:
        field = command.field(parameter.name)
        name = parameter.name
        if field and field.kind == "kObject":
            texts.append(f"Object* {name}" if "kMayBeNull" in field.flags else f"Object& {name}")
        elif field and field.element == "kObject":
            texts.append(f"std::span<Object* const> {name}")
        elif parameter.is_output and parameter.type.startswith("Vk") and (
                field and field.type and field.element == "kPlain"):
            texts.append(f"uint64_t* {name}")
        elif parameter.dimensions:
            texts.append(f"const {parameter.type}* {name}")
        else:
            texts.append(f"{c_type(parameter)} {name}")
    return texts


def session_handlers(model):
    lines = [HEAD, "// Inside class Session: the handlers that are written by hand. One that fails "
             "calls\n// call.in.fail(); what it returns is lost then. Arrays of objects hold null "
             "only where\n// Vulkan allows it.\n"]
    for command in model.commands:
        if command.kind != "custom":
            continue
        name = {"": None, "VkPhysicalDevice": "physicalDevice", "VkCommandBuffer": "commandBuffer"
                }.get(command.self_type, command.self_type[2:].lower())
        parameters = ["Call& call"] + ([f"Object& {name}"] if name else [])
        parameters += handler_parameters(command)
        lines.append(wrapped(f"{command.command.result} {command.name}(", parameters, ");"))
    return "".join(lines)


def wrapped(head, parts, tail):
    """`head`(`parts`)`tail` in lines of at most 100 columns, broken at commas only."""
    lines, line = [], head
    for index, part in enumerate(parts):
        part += ", " if index + 1 < len(parts) else tail
        if len(line) + len(part) > 98:
            lines.append(line.rstrip())
            line = "    "
        line += part
    return "\n".join(lines + [line if parts else head + tail]) + "\n"
