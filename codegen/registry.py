# SPDX-License-Identifier: Apache-2.0
"""Reads the Vulkan registry (vk.xml) into a small model; knows nothing of gfxstream."""

import dataclasses
import re
import xml.etree.ElementTree


@dataclasses.dataclass
class Member:
    """A member of a structure or a parameter of a command."""

    name: str
    type: str
    const: bool = False        # what the first pointer points to is const
    pointers: int = 0
    dimensions: tuple = ()     # of a static array
    length: str = None         # first part of `len`
    optional: tuple = ()       # parts of `optional`
    unchecked: bool = False    # `noautovalidity`
    stype: str = None          # the only value it may have
    bits: bool = False         # a bit field

    @property
    def elements(self):
        count = 1
        for dimension in self.dimensions:
            count *= dimension
        return count

    @property
    def is_output(self):
        return self.pointers > 0 and not self.const


@dataclasses.dataclass
class Struct:
    """A structure or a union."""

    name: str
    members: list
    union: bool = False
    extends: tuple = ()

    @property
    def stype(self):
        return self.members[0].stype if self.members else None

    def member(self, name):
        return next((member for member in self.members if member.name == name), None)


@dataclasses.dataclass
class Command:
    """A command; parameters exclude none, the allocator's included."""

    name: str
    result: str
    parameters: list

    def parameter(self, name):
        return next((member for member in self.parameters if member.name == name), None)


@dataclasses.dataclass
class Extension:
    """An extension: its commands and types, and whether vulkan_core.h declares them."""

    name: str
    kind: str                  # "device", "instance"
    in_core_header: bool
    commands: list
    types: list


def _serves_vulkan(element):
    apis = element.get("api")
    return apis is None or "vulkan" in apis.split(",")


class Registry:
    """Types, commands and extensions of the API `vulkan`, with aliases resolved."""

    def __init__(self, path):
        root = xml.etree.ElementTree.parse(path).getroot()
        self.constants = {}
        self.type_aliases = {}
        self.command_aliases = {}
        self.structs = {}
        self.handles = []
        self.function_pointers = set()
        self.sizes = {      # of the types that go over the wire as they are
            "char": 1, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4,
            "uint32_t": 4, "int": 4, "float": 4, "int64_t": 8, "uint64_t": 8, "double": 8}
        self.commands = {}
        self.extensions = {}
        self.core_commands = set()
        self.core_types = set()
        self.core_versions = {}     # type -> "1.0" and so on, the first that has it
        self.stypes = {}    # name -> number
        wide = {enums.get("name") for enums in root.findall("enums")
                if enums.get("bitwidth") == "64"}
        self._read_constants(root)
        for element in root.find("types"):
            if _serves_vulkan(element):
                self._read_type(element, wide)
        for element in root.find("commands"):
            if _serves_vulkan(element):
                self._read_command(element)
        self._read_features(root)

    def _read_constants(self, root):
        for enums in root.findall("enums"):
            if enums.get("name") == "API Constants":
                for enum in enums:
                    text = enum.get("value")
                    if text and re.fullmatch(r"\d+", text):
                        self.constants[enum.get("name")] = int(text)
            if enums.get("name") == "VkStructureType":
                for enum in enums.findall("enum"):
                    if enum.get("value"):
                        self.stypes[enum.get("name")] = int(enum.get("value"))

    def _read_type(self, element, wide):
        category = element.get("category")
        name = element.get("name") or element.findtext("name")
        if element.get("alias"):
            self.type_aliases[name] = element.get("alias")
        elif category in ("struct", "union"):
            members = [self._member(child) for child in element.findall("member")
                       if _serves_vulkan(child)]
            extends = tuple(filter(None, (element.get("structextends") or "").split(",")))
            self.structs[name] = Struct(name, members, category == "union", extends)
        elif category == "handle":
            self.handles.append(name)
        elif category == "funcpointer":
            self.function_pointers.add(name)
        elif category == "enum":
            self.sizes[name] = 8 if name in wide else 4
        elif category in ("bitmask", "basetype"):
            under = element.findtext("type")
            if under in ("VkFlags64", "uint64_t"):
                self.sizes[name] = 8
            elif under in ("VkFlags", "uint32_t"):
                self.sizes[name] = 4

    def _member(self, element):
        around_type = "".join(
            [element.text or "", *(part for child in element if child.tag == "type"
                                   for part in (child.tail or "",))])
        name = element.find("name")
        tail = "".join([name.tail or "",
                        *((child.text or "") + (child.tail or "") for child in element
                          if child.tag == "enum")])
        dimensions = tuple(int(text) if text.isdigit() else self.constants[text]
                           for text in re.findall(r"\[(\w+)\]", tail))
        length = element.get("len")
        optional = element.get("optional")
        return Member(
            name=name.text, type=element.findtext("type"), const="const" in (element.text or ""),
            pointers=around_type.count("*"), dimensions=dimensions,
            length=length.split(",")[0] if length else None,
            optional=tuple(optional.split(",")) if optional else (),
            unchecked=element.get("noautovalidity") is not None,
            stype=element.get("values"), bits=":" in tail)

    def _read_command(self, element):
        if element.get("alias"):
            self.command_aliases[element.get("name")] = element.get("alias")
            return
        proto = element.find("proto")
        parameters = [self._member(child) for child in element.findall("param")
                      if _serves_vulkan(child)]
        name = proto.findtext("name")
        self.commands[name] = Command(name, proto.findtext("type"), parameters)

    def _read_features(self, root):
        for feature in root.findall("feature"):
            if "vulkan" in feature.get("api").split(","):
                for require in filter(_serves_vulkan, feature.findall("require")):
                    self.core_commands |= {e.get("name") for e in require.findall("command")}
                    for name in (e.get("name") for e in require.findall("type")):
                        self.core_types.add(name)
                        self.core_versions.setdefault(
                            self.type_name(name), feature.get("number"))
                    self._read_stypes(require, None)
        for extension in root.find("extensions"):
            if "vulkan" not in extension.get("supported").split(","):
                continue
            commands, types = [], []
            for require in filter(_serves_vulkan, extension.findall("require")):
                commands += [e.get("name") for e in require.findall("command")]
                types += [e.get("name") for e in require.findall("type")]
                self._read_stypes(require, extension.get("number"))
            self.extensions[extension.get("name")] = Extension(
                extension.get("name"), extension.get("type"),
                extension.get("platform") is None and extension.get("provisional") is None,
                commands, types)

    def _read_stypes(self, require, extension_number):
        for enum in require.findall("enum"):
            if enum.get("extends") != "VkStructureType":
                continue
            if enum.get("value"):
                self.stypes[enum.get("name")] = int(enum.get("value"))
            elif enum.get("offset"):
                number = int(enum.get("extnumber") or extension_number)
                self.stypes[enum.get("name")] = (
                    1000000000 + (number - 1) * 1000 + int(enum.get("offset")))

    def type_name(self, name):
        while name in self.type_aliases:
            name = self.type_aliases[name]
        return name

    def command_name(self, name):
        while name in self.command_aliases:
            name = self.command_aliases[name]
        return name
