# SPDX-License-Identifier: Apache-2.0
"""A Vulkan driver for tests that executes nothing: each function touches every handle that it is
given, makes and frees objects, and fills what it is to fill. tests/vulkan_null has what a host
needs values from, by hand."""

import emit_guest
from emit_headers import functions_of_tables, wrapped
from text import HEAD, c_type

OPEN = "\nnamespace swede::vulkan_null {\n"
CLOSE = "\n}  // namespace swede::vulkan_null\n"

# Defined in tests/vulkan_null.
BY_HAND = frozenset("""
vkEnumerateInstanceVersion vkCreateInstance vkDestroyInstance vkEnumeratePhysicalDevices
vkEnumerateDeviceExtensionProperties vkGetPhysicalDeviceProperties vkGetPhysicalDeviceProperties2
vkGetPhysicalDeviceMemoryProperties vkGetPhysicalDeviceMemoryProperties2
vkGetPhysicalDeviceQueueFamilyProperties vkGetPhysicalDeviceQueueFamilyProperties2
vkGetPhysicalDeviceFormatProperties vkGetPhysicalDeviceFormatProperties2
vkGetPhysicalDeviceImageFormatProperties vkGetPhysicalDeviceImageFormatProperties2
vkGetPhysicalDeviceExternalBufferProperties
vkCreateDevice vkDestroyDevice vkGetDeviceQueue vkGetDeviceQueue2 vkGetDeviceProcAddr
vkAllocateMemory vkFreeMemory vkMapMemory vkGetMemoryHostPointerPropertiesEXT
vkGetBufferMemoryRequirements vkGetBufferMemoryRequirements2
vkGetImageMemoryRequirements vkGetImageMemoryRequirements2
vkGetDeviceBufferMemoryRequirements vkGetDeviceImageMemoryRequirements
vkGetImageSubresourceLayout vkGetImageSubresourceLayout2
vkAllocateCommandBuffers vkFreeCommandBuffers
vkAllocateDescriptorSets vkFreeDescriptorSets vkResetDescriptorPool
vkQueueSubmit vkQueueSubmit2 vkQueueWaitIdle vkDeviceWaitIdle vkWaitForFences vkGetFenceStatus
vkResetFences vkCreateSemaphore vkWaitSemaphores vkSignalSemaphore vkGetSemaphoreCounterValue
vkCreateQueryPool vkResetQueryPool
vkBeginCommandBuffer vkResetCommandBuffer vkResetCommandPool vkCreatePipelineCache
""".split())


class Emitter:
    """What touches structures, for those that lead to a handle."""

    def __init__(self, model):
        self.model = model
        self.registry = model.registry
        self.structs = {name: self.registry.structs[name] for name in model.layouts
                        if not name.endswith("GOOGLE") and not self.registry.structs[name].union}
        self.leading = self._leading()

    def kind(self, member):
        name = self.registry.type_name(member.type)
        if name in self.registry.handles:
            return "handle"
        return "struct" if name in self.registry.structs else "plain"

    def _leading(self):
        """Structures with a handle in them, below them, or in what may extend them."""
        leading = set()
        while True:
            parents = {self.registry.type_name(parent) for name in leading
                       for parent in self.structs[name].extends}
            more = {name for name, struct in self.structs.items()
                    if name not in leading and (name in parents or any(
                        self.kind(m) == "handle" or self.registry.type_name(m.type) in leading
                        for m in struct.members if m.pointers < 2))}
            if not more:
                return leading
            leading |= more

    def reader(self, owner, member):
        """What looks at a member: handles that Vulkan needs must be there."""
        needed = self.kind(member) == "handle" and not self.model.handle_may_be_null(
            f"{owner}.{member.name}", member)
        return "use" if needed else "touch"

    def touch_struct(self, name):
        lines = []
        body = emit_guest.Body(self.model, name, self.structs[name].members)
        for member in self.structs[name].members:
            place = f"from.{member.name}"
            kind = self.kind(member)
            if member.name == "pNext":
                lines.append(f"    touch_chain({place});\n")
            elif kind == "plain" or member.pointers > 1 or (
                    kind == "struct" and self.registry.type_name(member.type) not in self.leading):
                continue
            elif member.pointers == 0 and not member.dimensions:
                lines.append(f"    {self.reader(name, member)}({place});\n")
            elif member.pointers == 0:
                lines.append(f"    for (const auto& element : {place}) touch(element);\n")
            else:
                lines.append(f"    {self.reader(name, member)}_all({place}, {body.count(member)});\n")
        return (f"void touch([[maybe_unused]] const {name}& from) {{\n{''.join(lines)}}}\n")

    # --- functions ------------------------------------------------------------------------------

    def function(self, command):
        body = emit_guest.Body(self.model, command.name, command.parameters)
        result = command.result
        destroyed = command.parameters[-2].name if command.name.startswith("vkDestroy") else None
        made = [p for p in command.parameters if p.is_output and self.kind(p) == "handle"]
        lines = []
        for parameter in command.parameters:
            count = self._count(body, parameter)
            if parameter.type == "VkAllocationCallbacks" or parameter.pointers > 1:
                continue
            if parameter.name == destroyed:
                lines.append(f"    destroy({parameter.name});\n")
            elif parameter.is_output:
                lines.append(self._output(command, parameter, count, body.counters))
            elif self.kind(parameter) == "handle" and parameter.pointers == 0:
                lines.append(f"    touch({parameter.name});\n" if parameter.optional[:1] == ("true",)
                             else f"    use({parameter.name});\n")
            elif parameter.pointers and not parameter.dimensions and (
                    self.kind(parameter) == "handle"
                    or self.registry.type_name(parameter.type) in self.leading):
                reader = self.reader(command.name, parameter)
                lines.append(f"    {reader}_all({parameter.name}, {count});\n")
        if result == "VkResult":
            lines.append("    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) {\n"
                         + "".join(f"        std::fill_n({p.name}, {self._count(body, p)}, "
                                   f"{p.type}{{}});\n" for p in made)
                         + "        return failure;\n    }\n")
        lines += [f"    make({command.parameters[0].name}, {p.name}, {self._count(body, p)});\n"
                  for p in made]
        if result != "void":
            lines.append("    return VK_SUCCESS;\n" if result == "VkResult" else "    return {};\n")
        return f"\n{signature(command)} {{\n{''.join(lines)}}}\n"

    @staticmethod
    def _count(body, parameter):
        if not parameter.pointers or parameter.length == "null-terminated":
            return "1"
        return body.count(parameter).replace("from.", "")

    def _output(self, command, parameter, count, counters):
        name = parameter.name
        if self.kind(parameter) == "handle":
            return ""
        if name in counters:
            # A list: what there is of it, one, where the caller has no place yet.
            return (f"    if ({self._listed(command, name)} == nullptr) *{name} = 1;\n")
        return f"    clear_all({name}, {count});\n"

    @staticmethod
    def _listed(command, counter):
        return next(p.name for p in command.parameters if p.length == counter)


def signature(command):
    parts = []
    for parameter in command.parameters:
        array = "".join(f"[{dimension}]" for dimension in parameter.dimensions)
        kind = c_type(parameter)
        if parameter.dimensions and parameter.const and not kind.startswith("const"):
            kind = f"const {kind}"
        parts.append(f"[[maybe_unused]] {kind} {parameter.name}{array}")
    return wrapped(f"VKAPI_ATTR {command.result} VKAPI_CALL {command.name}(", parts,
                   ")").rstrip("\n")


def files(model):
    emitter = Emitter(model)
    names = sorted({name for table in functions_of_tables(model) for name in table})
    commands = [model.registry.commands[name] for name in names]
    header = [HEAD, "#pragma once\n\n#include <vulkan/vulkan_core.h>\n", OPEN]
    header += [f"void touch(const {name}& from);\n" for name in sorted(emitter.leading)]
    header += [f"{signature(command)};\n" for command in commands]
    source = [HEAD, '#include "null_functions.h"\n\n#include <algorithm>\n\n'
              '#include "vulkan_null/objects.h"\n', OPEN]
    source += [emitter.touch_struct(name) for name in sorted(emitter.leading)]
    source.append(_chain(emitter, "void touch_chain(const void* next)", "const VkBaseInStructure",
                         emitter.leading, "touch(*reinterpret_cast<const {0}*>(at));"))
    source.append(_chain(emitter, "void clear_chain(void* next)", "VkBaseOutStructure",
                         emitter.structs, "clear_rest(at, sizeof({0}));"))
    source += [emitter.function(command) for command in commands if command.name not in BY_HAND]
    source.append("\nconst Function kFunctions[] = {\n")
    source += [f'    {{"{name}", reinterpret_cast<PFN_vkVoidFunction>({name})}},\n'
               for name in names]
    source.append("};\nconst size_t kFunctionCount = std::size(kFunctions);\n")
    return {"null_functions.h": "".join(header) + CLOSE,
            "null_functions.cpp": "".join(source) + CLOSE}


def _chain(emitter, head, base, names, call):
    lines = [f"\n{head} {{\n    for (auto* at = static_cast<{base}*>(next); at != nullptr; "
             "at = at->pNext) {\n        switch (static_cast<uint32_t>(at->sType)) {\n"]
    for name in sorted(names):
        struct = emitter.structs[name]
        if struct.stype and struct.extends:
            lines.append(f"            case {emitter.registry.stypes[struct.stype]}:\n"
                         f"                {call.format(name)}\n                break;\n")
    return "".join(lines) + "            default:\n                break;\n        }\n    }\n}\n"
