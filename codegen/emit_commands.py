# SPDX-License-Identifier: Apache-2.0
"""run_vkX of each command, the table of them, and what frees objects."""

from emit_headers import destroyer, wrapped
from emit_layouts import commands_by_opcode
from text import source

UNITS = 3


def files(model):
    """Name -> text of the sources."""
    texts = {}
    share = -(-len(model.commands) // UNITS)
    for unit in range(UNITS):
        chosen = model.commands[unit * share:(unit + 1) * share]
        texts[f"run_{unit}.cpp"] = source(
            "".join(_run(model, command) for command in chosen),
            '"gfxstream/vulkan/generated/arguments.h"', '"gfxstream/vulkan/generated/layouts.h"',
            '"gfxstream/vulkan/run.h"')
    texts["commands.cpp"] = _table(model)
    return texts


def _table(model):
    lines = [f"bool run_{command.name}(Call& call);\n" for command in model.commands]
    lines.append("\nnamespace {\n\n// Beside kCommandLayouts.\nconstexpr Command kCommands[] = {\n")
    aliases = {model.opcode(name): name for command in model.commands for name in command.names}
    relaxed = model.relaxed
    for opcode, command in commands_by_opcode(model):
        flags = ["kCommandBuffer" if command.self_type == "VkCommandBuffer" else "kSequenced"]
        flags += ["kRelaxed"] if command.name in relaxed else []
        flags += ["kReply"] if command.has_reply else []
        lines.append(f'    {{"{aliases[opcode]}", run_{command.name}, {" | ".join(flags)}}},\n')
    lines.append("};\n\n}  // namespace\n\nconst Command* find_command(uint32_t opcode) {\n"
                 "    const size_t index = find_command_layout(opcode);\n"
                 "    return index < std::size(kCommands) ? &kCommands[index] : nullptr;\n}\n"
                 "\nvoid destroy_driver_object(Object& object) {\n"
                 "    if (object.driver == 0) return;\n    switch (object.type) {\n")
    for name in model.handles:
        function = destroyer(model, name)
        if function is None:
            continue
        if name in ("VkInstance", "VkDevice"):
            lines.append(f"        case ObjectType::k{name[2:]}:\n"
                         f"            return destroy_{name[2:].lower()}(object);\n")
        else:
            lines.append(f"        case ObjectType::k{name[2:]}:\n"
                         f"            return destroy<{name}>(object, "
                         f"&DeviceFunctions::{function});\n")
    lines.append("        case ObjectType::kCommandBuffer:\n"
                 "            return free_command_buffer(object);\n"
                 "        default:\n            return;  // owned by its pool, or by the driver\n"
                 "    }\n}\n")
    return source("".join(lines), "<iterator>", '"gfxstream/vulkan/generated/layouts.h"',
                  '"gfxstream/vulkan/run.h"')


def _run(model, command):
    body = {"custom": _custom, "refuse": _refuse, "pass": _pass}[command.kind](model, command)
    return (f"\nbool run_{command.name}(Call& call) {{\n    args::{command.name} a;\n"
            f"    if (!start(call, LayoutId::{command.name}, "
            f"ObjectType::k{command.self_type[2:] or 'None'}, &a)) return false;\n{body}}}\n")


def _finish(command, value=""):
    """Ends with the reply, if there is one."""
    if not command.has_reply:
        return "    return !call.in.failed();\n" if command.kind == "custom" else (
            "    return true;\n")
    outputs = any(parameter.is_output for parameter in command.parameters)
    place = f"&layout_of(LayoutId::{command.name})" if outputs else "nullptr"
    return f"    return reply(call, {place}, &a{value});\n"


def _custom(_, command):
    parts = ["call"] + (["*a.self"] if command.self_type else [])
    for parameter in command.parameters:
        name = parameter.name
        field = command.field(name)
        if field and field.kind == "kObject":
            parts.append(f"a.{name}" if "kMayBeNull" in field.flags else f"*a.{name}")
        elif field and field.element == "kObject":
            parts.append(f"{{a.{name}, a.{name} != nullptr ? a.{parameter.length} : 0}}")
        else:
            parts.append(f"a.{name}")
    result = command.command.result
    head = f"    {'' if result == 'void' else 'const auto result = '}call.session.{command.name}("
    return wrapped(head, parts, ");") + _finish(command, "" if result == "void" else ", result")


def _refuse(model, command):
    return f"    constexpr VkResult result = {model.refused[command.name]};\n" + _finish(
        command, ", result")


def _pass(model, command):
    if command.name.startswith("vkDestroy"):
        assert len(command.parameters) == 1 and command.self_type == "VkDevice", command.name
        return f"    forget(call, a.{command.parameters[0].name});\n    return true;\n"
    handles = {p.name for p in command.parameters
               if p.is_output and model.registry.type_name(p.type) in model.registry.handles}
    parts = [f"a.self->as<{command.self_type}>()"] if command.self_type else []
    before, after = [], []
    for parameter in command.command.parameters[len(parts):]:
        name = parameter.name
        field = command.field(name)
        if parameter.type == "VkAllocationCallbacks":
            parts.append("nullptr")
        elif name in handles:
            assert parameter.length is None and command.command.result == "VkResult", command.name
            before.append(f"    {parameter.type} made = VK_NULL_HANDLE;\n")
            after.append(f"    *a.{name} = adopt(call, *a.self, made, &result);\n")
            parts.append("&made")
        elif field and field.kind == "kObject":
            parts.append(f"driver<{parameter.type}>(a.{name})")
        else:
            parts.append(f"a.{name}")
    table = {"": None, "VkInstance": "instance_functions", "VkPhysicalDevice": "physical_functions"
             }.get(command.self_type, "device_functions")
    assert table, command.name
    result = command.command.result
    prefix = "" if result == "void" else (
        f"{'' if after else 'const '}{result} result = ")
    return (f"    const auto function = {table}(*a.self).{command.name};\n"
            f'    if (function == nullptr) return absent(call, "{command.name}");\n'
            + "".join(before) + wrapped(f"    {prefix}function(", parts, ");") + "".join(after)
            + _finish(command, "" if result == "void" else ", result"))
