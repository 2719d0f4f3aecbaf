# SPDX-License-Identifier: Apache-2.0
"""From registry and annotations to what is generated: which commands and structures, and for each
the fields that its wire form has, with their places in the C structure (LP64)."""

import dataclasses
import hashlib
import re

import annotations
import private_api
from registry import Command

POINTER = 8


@dataclasses.dataclass
class Field:
    """One step of reading a structure; see src/gfxstream/vulkan/layout.h for the meaning."""

    kind: str
    name: str = ""
    offset: int = 0
    size: int = 0              # bytes, or elements of a static array
    element: str = "kPlain"
    length: str = "kOne"
    length_offset: int = 0
    nested: int = 0
    type: str = ""             # structure or handle
    alignment: int = 1
    condition: str = "kAlways"
    flags: tuple = ()

    def shifted(self, offset, name):
        return dataclasses.replace(
            self, offset=self.offset + offset, length_offset=self.length_offset + offset, name=name)


@dataclasses.dataclass
class Layout:
    """Fields of a structure or of a command's arguments."""

    name: str
    fields: list
    size: int
    alignment: int
    wire_minimum: int
    flags: tuple = ()

    @property
    def plain(self):
        """The C structure's bytes are the wire's."""
        return (len(self.fields) == 1 and self.fields[0].kind == "kPlain"
                and self.fields[0].size == self.size)


@dataclasses.dataclass
class GuestCommand:
    """A command as guests send it; `names` are its own and its aliases'."""

    name: str
    names: list
    command: Command
    kind: str                  # "pass", "custom", "refuse"
    self_type: str             # first parameter if that is dispatchable, else ""
    parameters: list           # without self and allocator
    layout: Layout = None

    def field(self, name):
        """The field of a parameter; None where nothing of it crosses."""
        return next((f for f in self.layout.fields if name in f.name.split("..")), None)

    @property
    def has_reply(self):
        return self.command.result != "void" or any(p.is_output for p in self.parameters)


EIGHT_BYTES = ("kSize", "kHandle", "kObject", "kNoAllocator")
DISPATCHABLE = ("VkInstance", "VkPhysicalDevice", "VkDevice", "VkQueue", "VkCommandBuffer")


class Model:
    """All that the emitters print."""

    def __init__(self, registry, fixed_opcodes, guest_extensions):
        self.registry = registry
        self.fixed_opcodes = fixed_opcodes
        self.guest_extensions = guest_extensions
        self.layouts = {}
        private_api.add_to(registry)
        self.declared = self._declared_types()
        self.handles = [name for name in registry.handles if name in self.declared]
        self.commands = self._select_commands()
        self._reach_structs()
        for command in self.commands:
            command.layout = self._arguments_layout(command)
        self.extension_structs = sorted(
            (struct for struct in registry.structs.values()
             if struct.name in self.layouts and struct.extends and struct.stype),
            key=lambda struct: registry.stypes[struct.stype])

        offered = self._offered_types()
        for struct in self.extension_structs:
            if struct.name not in offered:
                self.layouts[struct.name].flags += ("kNotOffered",)

    relaxed = annotations.RELAXED
    refused = annotations.REFUSED

    # --- what is chosen -------------------------------------------------------------------------

    def _declared_types(self):
        """Types that vulkan_core.h declares."""
        names = set(self.registry.core_types)
        for extension in self.registry.extensions.values():
            if extension.in_core_header:
                names |= set(extension.types)
        return {self.registry.type_name(name) for name in names}

    def _offered_types(self):
        """Of the version that guests are told (loader.h), of extensions that their drivers let
        through, and gfxstream's own."""
        names = {name for name, version in self.registry.core_versions.items() if version <= "1.3"}
        names |= {self.registry.type_name(name) for extension in self.guest_extensions
                  if extension in self.registry.extensions
                  for name in self.registry.extensions[extension].types}
        return names | {name for name in self.registry.structs if name.endswith("GOOGLE")}

    def _select_commands(self):
        wanted = set(self.registry.core_commands)
        for name in self.guest_extensions:
            if name in self.registry.extensions:
                wanted |= set(self.registry.extensions[name].commands)
        wanted = {self.registry.command_name(name) for name in wanted}
        wanted |= set(annotations.CUSTOM) | set(annotations.REFUSED)
        wanted -= annotations.LEFT_OUT
        chosen = []
        for name in sorted(wanted):
            command = self.registry.commands[name]
            if any(self._is_presentation(p.type) for p in command.parameters):
                continue
            first = command.parameters[0].type
            dispatchable = first in DISPATCHABLE and not command.parameters[0].pointers
            self_type = first if dispatchable else ""
            parameters = [p for p in command.parameters[1 if self_type else 0:]
                          if p.type != "VkAllocationCallbacks"]
            kind = ("custom" if name in annotations.CUSTOM else
                    "refuse" if name in annotations.REFUSED else "pass")
            names = [name] + sorted(alias for alias in self.registry.command_aliases
                                    if self.registry.command_name(alias) == name)
            chosen.append(GuestCommand(name, names, command, kind, self_type, parameters))
        return chosen

    @staticmethod
    def _is_presentation(kind):
        """Guests present by themselves."""
        return re.search(r"Surface|Swapchain|Display|Present|RefreshCycle|PastPresentation|"
                         r"AcquireNextImage", kind) is not None

    def _reach_structs(self):
        """Structures of commands, what extends those, and what these contain."""
        todo = {p.type for command in self.commands for p in command.parameters}
        while todo:
            reached = set()
            for name in todo:
                struct = self.registry.structs.get(self.registry.type_name(name))
                if struct and struct.name not in self.layouts and self._may_cross(struct):
                    self._layout_of(struct.name)
            known = set(self.layouts)
            for struct in self.registry.structs.values():
                if struct.name in known:
                    reached |= {self.registry.type_name(m.type) for m in struct.members}
                elif any(self.registry.type_name(e) in known for e in struct.extends):
                    reached.add(struct.name)
            todo = {name for name in reached - known
                    if name in self.registry.structs and self._may_cross(
                        self.registry.structs[name])}

    def _may_cross(self, struct):
        return (struct.name in self.declared and struct.name not in annotations.FORBIDDEN_STRUCTS
                and not re.search(annotations.LEFT_OUT_STRUCTS, struct.name)
                and not any(m.bits for m in struct.members))

    @property
    def known_device_extensions(self):
        """Those a guest lets through and whose commands (if it sends them) and types are here."""
        names = {name for command in self.commands for name in command.names}
        names |= set(annotations.LEFT_OUT) | set(annotations.HOST_FUNCTIONS)
        known = []
        for name in self.guest_extensions:
            extension = self.registry.extensions.get(name)
            if extension and all(self.registry.command_name(c) in names
                                 for c in extension.commands):
                known.append(name)
        return known

    def opcode(self, name):
        if name in self.fixed_opcodes:
            return self.fixed_opcodes[name]
        return 200000000 + int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100000000

    # --- C layout -------------------------------------------------------------------------------

    def size_and_alignment(self, member):
        if member.pointers:
            size = alignment = POINTER
        else:
            size, alignment = self._type_size(member.type)
        return size * member.elements, alignment

    def _type_size(self, name):
        name = self.registry.type_name(name)
        if name in self.registry.handles or name in self.registry.function_pointers:
            return POINTER, POINTER
        if name == "size_t":
            return 8, 8
        if name in self.registry.sizes:
            return self.registry.sizes[name], self.registry.sizes[name]
        struct = self.registry.structs[name]
        _, size, alignment = self._places(struct.members, struct.union)
        return size, alignment

    def _places(self, members, union=False):
        offset, size, alignment, places = 0, 0, 1, []
        for member in members:
            own_size, own_alignment = self.size_and_alignment(member)
            offset = 0 if union else -(-offset // own_alignment) * own_alignment
            places.append(offset)
            offset += own_size
            size = max(size, offset)
            alignment = max(alignment, own_alignment)
        return places, -(-size // alignment) * alignment, alignment

    # --- wire form ------------------------------------------------------------------------------

    def _layout_of(self, name):
        name = self.registry.type_name(name)
        if name in self.layouts:
            return self.layouts[name]
        struct = self.registry.structs[name]
        places, size, alignment = self._places(struct.members, struct.union)
        layout = Layout(name, [], size, alignment, 0)
        self.layouts[name] = layout  # before its members: they may point to it
        wire_members = struct.members[:1] if struct.union else struct.members
        fields = []
        if name == annotations.PREFIXED_STRUCT:
            fields.append(Field("kPrefix", size=8))
        offsets = dict(zip((m.name for m in struct.members), places))
        for member in wire_members:
            fields += self.fields_of(name, struct.members, member, offsets)
        layout.fields = merge(fields)
        # At least 1: counts are divided by it.
        layout.wire_minimum = max(1, sum(self._minimum(field) for field in layout.fields))
        if name in annotations.DROPPED_STRUCTS:
            layout.flags = ("kDropped",)
        return layout

    def _minimum(self, field):
        if field.kind in ("kPlain", "kPrefix"):
            return field.size
        if "kMarker" in field.flags or field.kind in EIGHT_BYTES:
            return 8
        if field.kind == "kIgnored":
            return field.size
        if field.kind in ("kNext", "kString", "kStrings"):
            return 4
        if field.kind == "kStructs":
            return field.size * self.layouts[field.type].wire_minimum
        if field.kind == "kHandles":
            return field.size * 8
        return 0

    def fields_of(self, owner, members, member, offsets):
        """The fields of one member; `offsets` are those of all `members` in the C structure."""
        offset = offsets[member.name]
        full_name = f"{owner}.{member.name}"
        if member.name == "pNext":
            return [Field("kNext", member.name, offset)]
        if member.pointers > 1 and member.type != "char":
            return []          # never crosses; stays null
        if member.pointers == 0:
            return self._value(full_name, member, offset)
        marker = (bool(member.optional) or member.unchecked) and (
            full_name not in annotations.PINNED_WITHOUT_MARKER)
        flags = ("kMarker",) if marker else ()
        if marker and self._is_required(full_name, member):
            flags += ("kRequired",)
        if member.type == "char" and member.pointers == 2:
            return [self._with_length(Field("kStrings", member.name, offset), owner, members,
                                      member, offsets)]
        if member.type == "char" and member.length in (None, "null-terminated"):
            return [Field("kString", member.name, offset, flags=flags)]
        if member.type == "void" and member.length is None:
            return [Field("kIgnored", member.name, offset, size=1, flags=flags)]
        if not member.const:
            flags += ("kCopied",)
        field = Field("kArray", member.name, offset, flags=flags,
                      condition=annotations.CONDITIONS.get(full_name, "kAlways"))
        self._set_element(field, full_name, member)
        return [self._with_length(field, owner, members, member, offsets)]

    @staticmethod
    def _is_required(full_name, member):
        """There is a marker, and Vulkan wants a pointer all the same: `optional` is of what it
        points to, or its use makes it needed."""
        return (member.optional and member.optional[0] != "true"
                or full_name in annotations.NEEDED_BY_CONDITION)

    @staticmethod
    def handle_may_be_null(full_name, member):
        """What Vulkan says of a handle, or of the handles of an array. Drivers follow null."""
        if full_name in annotations.IGNORABLE_HANDLES or member.unchecked:
            return True
        return member.optional[1 if member.pointers else 0:][:1] == ("true",)

    def _handle_flags(self, full_name, member):
        if full_name in annotations.IGNORABLE_HANDLES:
            return ("kIgnorable",)
        return ("kMayBeNull",) if self.handle_may_be_null(full_name, member) else ()

    def _set_element(self, field, full_name, member):
        kind = self.registry.type_name(member.type)
        if kind == "void":
            field.size = 1
        elif kind == "size_t":
            field.element, field.size, field.alignment = "kSize", 8, 8
        elif kind in self.registry.handles:
            field.element, field.size, field.type = "kHandle", 8, kind
            field.flags += self._handle_flags(full_name, member)
        elif kind in self.registry.structs:
            layout = self._layout_of(kind)
            field.size, field.alignment = layout.size, layout.alignment
            if not layout.plain:
                field.element, field.type = "kStruct", kind
        else:
            field.size = field.alignment = self.registry.sizes[kind]

    def _with_length(self, field, owner, members, member, offsets):
        special = annotations.SPECIAL_LENGTHS.get(f"{owner}.{member.name}")
        if special:
            field.length, field.length_offset = special[0], offsets[special[1]]
            return field
        text = member.length
        if text is None or text == "1":
            return field
        if "->" in text:
            pointer, name = text.split("->")
            pointee = self.registry.structs[
                next(m for m in members if m.name == pointer).type]
            places, _, _ = self._places(pointee.members)
            field.length, field.length_offset = "kNested32", offsets[pointer]
            field.nested = places[[m.name for m in pointee.members].index(name)]
            return field
        index = [m.name for m in members].index(text)
        counter = members[index]
        assert index < [m.name for m in members].index(member.name), (owner, member.name)
        wide = {4: "32", 8: "64"}[self._type_size(counter.type)[0]]
        field.length = ("kPointee" if counter.pointers else "kMember") + wide
        field.length_offset = offsets[text]
        return field

    def _value(self, full_name, member, offset):
        kind = self.registry.type_name(member.type)
        if kind in self.registry.function_pointers:
            return [Field("kIgnored", member.name, offset, size=8)]
        if kind == "size_t":
            assert not member.dimensions
            return [Field("kSize", member.name, offset)]
        if kind in self.registry.handles:
            flags = self._handle_flags(full_name, member)
            if member.dimensions:
                return [Field("kHandles", member.name, offset, size=member.elements, type=kind)]
            return [Field("kHandle", member.name, offset, type=kind, flags=flags)]
        if kind in self.registry.structs:
            layout = self._layout_of(kind)
            if layout.plain:
                return [Field("kPlain", member.name, offset, layout.size * member.elements)]
            if member.dimensions:
                return [Field("kStructs", member.name, offset, member.elements, type=kind)]
            return [field.shifted(offset, f"{member.name}.{field.name}")
                    for field in layout.fields]
        return [Field("kPlain", member.name, offset,
                      self.registry.sizes[kind] * member.elements)]

    # --- arguments ------------------------------------------------------------------------------

    def _arguments_layout(self, command):
        """Of `struct args::vkX`: self, then the parameters; handles are Object*, created handles
        and counts pointers to memory of the arena."""
        all_parameters = command.command.parameters[1 if command.self_type else 0:]
        offset, alignment, offsets, fields = POINTER, POINTER, {}, []
        for parameter in command.parameters:
            size, own_alignment = self.size_and_alignment(parameter)
            offset = -(-offset // own_alignment) * own_alignment
            offsets[parameter.name] = offset
            offset += size
        for parameter in all_parameters:
            if parameter.type == "VkAllocationCallbacks":
                fields.append(Field("kNoAllocator", parameter.name))
                continue
            fields += self._argument(command, parameter, offsets)
        layout = Layout(command.name, merge(fields), -(-offset // alignment) * alignment, alignment,
                        0, flags=("kRaw",) if command.name in annotations.RAW else ())
        layout.wire_minimum = sum(self._minimum(field) for field in layout.fields)
        return layout

    def _argument(self, command, parameter, offsets):
        kind = self.registry.type_name(parameter.type)
        fields = self.fields_of(command.name, command.parameters, parameter, offsets)
        optional = parameter.optional[:1] == ("true",)
        for field in fields:
            if parameter.is_output:
                field.flags += ("kOutput",)
                if field.element == "kHandle":     # guest ids, written by us
                    field.element, field.alignment = "kPlain", 8
            elif kind in self.registry.handles:
                if field.kind == "kHandle":
                    field.kind = "kObject"
                    field.flags = ("kMayBeNull",) if optional else ()
                elif command.kind == "custom":
                    field.element = "kObject"
                    if (len(parameter.optional) > 1 or parameter.unchecked
                            or f"{command.name}.{parameter.name}" in annotations.MAY_HOLD_NULL):
                        field.flags += ("kMayBeNull",)
        return fields


def merge(fields):
    """Joins neighbours that are plain bytes on both sides."""
    merged = []
    for field in fields:
        last = merged[-1] if merged else None
        if (last and field.kind == last.kind == "kPlain" and last.flags == field.flags
                and last.offset + last.size == field.offset):
            merged[-1] = dataclasses.replace(last, size=last.size + field.size,
                                             name=f"{last.name}..{field.name.split('..')[-1]}")
        else:
            merged.append(field)
    return merged
