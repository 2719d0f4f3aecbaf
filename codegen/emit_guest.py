# SPDX-License-Identifier: Apache-2.0
"""The guest's side, for tests: typed code that encodes structures and commands, and fills them at
random. It knows nothing of the tables that the product decodes by, so that each checks the other.
"""

import annotations
from emit_layouts import all_layouts
from text import HEAD, c_type

UNITS = 3
OPEN = "namespace swede::gfxstream::vulkan::guest {\n"
CLOSE = "\n}  // namespace swede::gfxstream::vulkan::guest\n"
VALUES = {     # members whose random values would nearly always mean the same
    "VkWriteDescriptorSet.descriptorType": "random.descriptor_type()",
    "VkPipelineShaderStageCreateInfo.stage": "random.shader_stage()",
    "VkPipelineRasterizationStateCreateInfo.rasterizerDiscardEnable": "random.count() % 2",
    "VkFramebufferCreateInfo.flags": "random.count() % 2",
    "VkPipelineMultisampleStateCreateInfo.rasterizationSamples": "random.samples()",
    "VkShaderModuleCreateInfo.codeSize": "random.count() * 5",
    "VkCommandBufferAllocateInfo.commandBufferCount": "random.count()",
}
CONDITIONS = {
    "kRasterization": "has_rasterization(from)",
    "kTessellation": "has_tessellation(from)",
    "kImageDescriptor": "is_image(from.descriptorType)",
    "kBufferDescriptor": "is_buffer(from.descriptorType)",
    "kTexelBufferDescriptor": "is_texel_buffer(from.descriptorType)",
    "kNotImageless": "(from.flags & VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT) == 0",
}


class Body:
    """Code for the members of one structure, or the parameters of one command."""

    def __init__(self, model, owner, members):
        self.model = model
        self.owner = owner
        self.members = members
        self.offsets = {member.name: 0 for member in members}
        self.counters = {member.length for member in members if member.length}

    def marker(self, member):
        fields = self.fields(member)
        return bool(fields) and "kMarker" in fields[0].flags

    def fields(self, member):
        return self.model.fields_of(self.owner, self.members, member, self.offsets)

    def count(self, member):
        """How many elements a pointer has, as an expression over `from`."""
        full_name = f"{self.owner}.{member.name}"
        if full_name in annotations.SPECIAL_LENGTHS:
            kind, base = annotations.SPECIAL_LENGTHS[full_name]
            return f"from.{base} / 4" if kind == "kQuarter64" else f"(from.{base} + 31u) / 32"
        if member.length in (None, "1"):
            return "1"
        if "->" in member.length:
            return f"from.{member.length}"
        counter = next(m for m in self.members if m.name == member.length)
        if counter.pointers:
            return f"(from.{counter.name} != nullptr ? *from.{counter.name} : 0)"
        return f"from.{counter.name}"

    def element_kind(self, member):
        registry = self.model.registry
        kind = registry.type_name(member.type)
        if kind in registry.structs:
            return "struct"
        if kind in registry.handles:
            return "handle"
        return {"size_t": "size", "void": "byte"}.get(kind, "plain")

    # --- encode ---------------------------------------------------------------------------------

    def encode(self, member):
        name = f"from.{member.name}"
        if member.name == "pNext":
            return f"    encode_next(to, {name});\n"
        fields = self.fields(member)
        if not fields:
            return ""
        if fields[0].kind == "kIgnored":
            if member.pointers == 0:
                return "    to.be64(0x1122334455667788);  // a function of the guest\n"
            return ("    to.be64(1);\n" if self.marker(member) else "") + "    to.u8(0x5a);\n"
        kind = self.element_kind(member)
        if member.pointers == 0:
            return self._encode_value(member, name, kind)
        if fields[0].kind == "kStrings":
            return f"    to.strings({name}, {self.count(member)});\n"
        if fields[0].kind == "kString":
            return f"    to.string({name}, {str(self.marker(member)).lower()});\n"
        body = {
            "struct": f"encode(to, {name}[i]);",
            "handle": f"to.handle({name}[i]);",
            "size": f"to.be64({name}[i]);",
            "byte": f"to.u8(static_cast<const uint8_t*>({name})[i]);",
            "plain": f"to.plain({name}[i]);"}[kind]
        loop = f"for (uint64_t i = 0; i < {self.count(member)}; ++i) {body}\n"
        condition = CONDITIONS.get(fields[0].condition)
        if condition:
            loop = f"if ({condition}) {loop}"
        if self.marker(member):
            return f"    to.marker({name});\n    if ({name} != nullptr) {{\n        {loop}    }}\n"
        return f"    {loop}"

    @staticmethod
    def _encode_value(member, name, kind):
        one = {"struct": "encode(to, {});", "handle": "to.handle({});", "size": "to.be64({});",
               "plain": "to.plain({});"}[kind]
        if member.dimensions and kind != "plain":
            return f"    for (const auto& element : {name}) {one.format('element')}\n"
        return f"    {one.format(name)}\n"

    # --- fill -----------------------------------------------------------------------------------

    def fill(self, member, output=False):
        name = f"from.{member.name}"
        if member.stype:
            return f"    {name} = {member.stype};\n"
        full_name = f"{self.owner}.{member.name}"
        if full_name in VALUES:
            return f"    {name} = static_cast<{c_type(member)}>({VALUES[full_name]});\n"
        if member.name == "pNext":
            return f'    {name} = random.chain("{self.owner}");\n'
        fields = self.fields(member)
        if not fields or fields[0].kind == "kIgnored":
            return ""
        if member.name in self.counters and member.pointers == 0:
            return f"    {name} = static_cast<{member.type}>(random.count());\n"
        kind = self.element_kind(member)
        if member.pointers == 0:
            one = {"struct": "fill(random, {});",
                   "handle": "random.handle({});", "size": "{} = random.size();",
                   "plain": "random.plain({});"}[kind]
            if member.dimensions and kind != "plain":
                return f"    for (auto& element : {name}) {one.format('element')}\n"
            return f"    {one.format(name)}\n"
        if fields[0].kind == "kString":
            return f"    {name} = random.string({str(self.marker(member)).lower()});\n"
        if fields[0].kind == "kStrings":
            return f"    {name} = random.strings({self.count(member)});\n"
        return self._fill_pointer(member, name, kind, fields[0].condition, output)

    def _fill_pointer(self, member, name, kind, condition, output):
        element = "uint8_t" if kind == "byte" else member.type
        one = {"struct": "fill(random, p[i]);", "handle": "random.handle(p[i]);",
               "size": "p[i] = random.size();"}.get(kind, "random.plain(p[i]);")
        if member.name in self.counters:  # a pointer to a counter
            one = "p[i] = static_cast<std::remove_reference_t<decltype(p[i])>>(random.count());"
        lines = [f"        const uint64_t n = {self.count(member)};\n",
                 f"        auto* p = random.array<{element}>(n);\n",
                 f"        for (uint64_t i = 0; i < n; ++i) {one}\n",
                 f"        {name} = p;\n"]
        guards = []
        if self.marker(member) and "kRequired" not in self.fields(member)[0].flags:
            guards.append("random.coin()")
        if condition in CONDITIONS:
            guards.append(CONDITIONS[condition])
        head = f"    if ({' && '.join(guards)}) {{\n" if guards else "    {\n"
        if output:
            lines.insert(0, "        const Random::Output output(random);\n")
        return head + "".join(lines) + "    }\n"


# --- files --------------------------------------------------------------------------------------

def files(model):
    texts = {"guest.h": _header(model)}
    names = sorted(model.layouts)
    share = -(-len(names) // UNITS)
    for unit in range(UNITS):
        texts[f"guest_structs_{unit}.cpp"] = _source(
            "".join(_struct(model, name) for name in names[unit * share:(unit + 1) * share]))
    texts["guest_commands.cpp"] = _source(
        "".join(_command(model, command) for command in model.commands) + _tables(model))
    return texts


def _source(body):
    return (HEAD + "#include <vulkan/vulkan_core.h>\n\n"
            '#include "gfxstream/vulkan/generated/layouts.h"\n#include "guest.h"\n\n'
            + OPEN + body + CLOSE)


def _header(model):
    lines = [HEAD, '#pragma once\n\n#include <vulkan/vulkan_core.h>\n\n',
             '#include "gfxstream/vulkan/generated/arguments.h"\n'
             '#include "gfxstream/vulkan/generated/gfxstream_structs.h"\n'
             '#include "unit/gfxstream/guest_support.h"\n\n', OPEN]
    for name in sorted(model.layouts):
        lines.append(f"void encode(Writer& to, const {name}& from);\n"
                     f"void fill(Random& random, {name}& from);\n")
    for command in model.commands:
        members = [] if command.self_type in ("", "VkCommandBuffer") else [
            f"    {command.self_type} self = VK_NULL_HANDLE;\n"]
        for parameter in command.parameters:
            if parameter.dimensions:
                members.append(f"    {parameter.type} {parameter.name}[{parameter.elements}] = "
                               "{};\n")
            else:
                members.append(f"    {c_type(parameter)} {parameter.name} = {{}};\n")
        lines.append(f"\nstruct {command.name} {{\n"
                     f"    static constexpr uint32_t kOpcode = {model.opcode(command.name)};\n"
                     + "".join(members) + "};\n"
                     f"void encode(Writer& to, const {command.name}& from);\n")
    return "".join(lines) + CLOSE


def _struct(model, name):
    struct = model.registry.structs[name]
    members = struct.members[:1] if struct.union else struct.members
    body = Body(model, name, struct.members)
    prefix = ""
    if name == annotations.PREFIXED_STRUCT:
        prefix = "    to.be32(has_rasterization(from));\n    to.be32(has_tessellation(from));\n"
    encode = "".join(body.encode(member) for member in members)
    order = members
    if name == annotations.PREFIXED_STRUCT:  # what conditions look at comes first
        first = ("pStages", "pRasterizationState", "pDynamicState", "stageCount")
        order = sorted(members, key=lambda m: (m.name not in first, m.name != "stageCount"))
    fill = "".join(body.fill(member) for member in order)
    return (f"\nvoid encode([[maybe_unused]] Writer& to, [[maybe_unused]] const {name}& from) {{\n"
            f"{prefix}{encode}}}\nvoid fill([[maybe_unused]] Random& random, [[maybe_unused]] "
            f"{name}& from) {{\n{fill}}}\n")


def _command(model, command):
    # Lengths may name any parameter; self stands first on the wire.
    body = Body(model, command.name, command.command.parameters)
    head = "" if command.self_type in ("", "VkCommandBuffer") else "    to.handle(from.self);\n"
    encode, outputs, fill = head, "", ""
    if head:
        fill += "    random.handle(from.self);\n"
    for parameter in command.command.parameters[1 if command.self_type else 0:]:
        if parameter.type == "VkAllocationCallbacks":
            encode += "    to.be64(0);\n"
            continue
        encode += body.encode(parameter)
        outputs += body.encode(parameter) if parameter.is_output else ""
        fill += body.fill(parameter, parameter.is_output)
    name = command.name
    return (f"\nvoid encode([[maybe_unused]] Writer& to, [[maybe_unused]] const {name}& from) {{\n"
            f"{encode}}}\n"
            f"static void outputs_{name}([[maybe_unused]] Writer& to, "
            f"[[maybe_unused]] const {name}& from) {{\n{outputs}}}\n"
            f"static void fill_{name}([[maybe_unused]] Random& random, "
            f"[[maybe_unused]] {name}& from) {{\n{fill}}}\n"
            f"static {name} from_{name}([[maybe_unused]] Random& random, "
            f"const args::{name}& a) {{\n    {name} from;\n{_from_arguments(model, command)}"
            "    return from;\n}\n")


def _from_arguments(model, command):
    lines = []
    if command.self_type not in ("", "VkCommandBuffer"):
        lines.append("    from.self = id_of<decltype(from.self)>(a.self);\n")
    for parameter in command.parameters:
        name = parameter.name
        field = command.field(name)
        if field and field.kind == "kObject":
            lines.append(f"    from.{name} = id_of<{parameter.type}>(a.{name});\n")
        elif field and field.element == "kObject":
            lines.append(f"    from.{name} = random.ids<{parameter.type}>(a.{name}, "
                         f"a.{parameter.length});\n")
        elif parameter.is_output and model.registry.type_name(
                parameter.type) in model.registry.handles:
            lines.append(f"    from.{name} = reinterpret_cast<{parameter.type}*>(a.{name});\n")
        elif parameter.dimensions:
            lines.append(f"    std::memcpy(from.{name}, a.{name}, sizeof(a.{name}));\n")
        else:
            lines.append(f"    from.{name} = a.{name};\n")
    return "".join(lines) or "    (void)a;\n"


def _tables(model):
    lines = ["\nconst GuestStruct kGuestStructs[] = {\n"]
    for name in sorted(model.layouts):
        struct = model.registry.structs[name]
        stype = model.registry.stypes[struct.stype] if struct.stype else 0
        parents = " ".join(model.registry.type_name(parent) for parent in struct.extends)
        if name in annotations.DROPPED_STRUCTS:
            parents = ""
        lines.append(f'    {{LayoutId::{name}, {stype}, sizeof({name}), " {parents} ", '
                     f"encode_one<{name}>, fill_one<{name}>}},\n")
    lines.append("};\nconst size_t kGuestStructCount = std::size(kGuestStructs);\n\n"
                 "const GuestCommand kGuestCommands[] = {\n")
    for command in model.commands:
        name = command.name
        result = command.command.result
        size = 0 if result == "void" else (
            model.registry.sizes[model.registry.type_name(result)])
        lines.append(f"    {{{name}::kOpcode, {size}, random_packet<{name}, fill_{name}>, "
                     f"packet_again<{name}, args::{name}, from_{name}>, "
                     f"outputs_again<{name}, args::{name}, from_{name}, outputs_{name}>}},\n")
    lines.append("};\nconst size_t kGuestCommandCount = std::size(kGuestCommands);\n")
    assert all_layouts(model)
    return "".join(lines)
