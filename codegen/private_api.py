# SPDX-License-Identifier: Apache-2.0
"""What gfxstream adds to Vulkan: commands and structures that no public registry has.

Declared as in C, with `?` behind the name of an optional pointer or handle and `[length]` behind
the name of an array. Only what Mesa's guest (25.0 to 26.2) sends with the capset that we offer:
the others need capset fields that stay 0, or Android.
"""

import re

from registry import Command, Member, Struct

COMMANDS = """
void vkBeginCommandBufferAsyncGOOGLE(VkCommandBuffer commandBuffer,
    const VkCommandBufferBeginInfo* pBeginInfo);
void vkEndCommandBufferAsyncGOOGLE(VkCommandBuffer commandBuffer);
void vkResetCommandBufferAsyncGOOGLE(VkCommandBuffer commandBuffer,
    VkCommandBufferResetFlags flags);
VkResult vkCreateImageWithRequirementsGOOGLE(VkDevice device, const VkImageCreateInfo* pCreateInfo,
    const VkAllocationCallbacks* pAllocator?, VkImage* pImage,
    VkMemoryRequirements* pMemoryRequirements);
VkResult vkCreateBufferWithRequirementsGOOGLE(VkDevice device,
    const VkBufferCreateInfo* pCreateInfo, const VkAllocationCallbacks* pAllocator?,
    VkBuffer* pBuffer, VkMemoryRequirements* pMemoryRequirements);
VkResult vkGetMemoryHostAddressInfoGOOGLE(VkDevice device, VkDeviceMemory memory,
    uint64_t* pAddress?, uint64_t* pSize?, uint64_t* pHostmemId?);
VkResult vkFreeMemorySyncGOOGLE(VkDevice device, VkDeviceMemory memory?,
    const VkAllocationCallbacks* pAllocator?);
VkResult vkGetBlobGOOGLE(VkDevice device, VkDeviceMemory memory);
void vkQueueSubmitAsyncGOOGLE(VkQueue queue, uint32_t submitCount,
    const VkSubmitInfo* pSubmits[submitCount], VkFence fence?);
void vkQueueSubmitAsync2GOOGLE(VkQueue queue, uint32_t submitCount,
    const VkSubmitInfo2* pSubmits[submitCount], VkFence fence?);
void vkQueueWaitIdleAsyncGOOGLE(VkQueue queue);
void vkQueueBindSparseAsyncGOOGLE(VkQueue queue, uint32_t bindInfoCount,
    const VkBindSparseInfo* pBindInfo[bindInfoCount], VkFence fence?);
void vkQueueFlushCommandsGOOGLE(VkQueue queue, VkCommandBuffer commandBuffer, VkDeviceSize dataSize,
    const void* pData[dataSize]);
void vkUpdateDescriptorSetWithTemplateSizedGOOGLE(VkDevice device, VkDescriptorSet descriptorSet,
    VkDescriptorUpdateTemplate descriptorUpdateTemplate, uint32_t imageInfoCount,
    uint32_t bufferInfoCount, uint32_t bufferViewCount,
    const uint32_t* pImageInfoEntryIndices?[imageInfoCount],
    const uint32_t* pBufferInfoEntryIndices?[bufferInfoCount],
    const uint32_t* pBufferViewEntryIndices?[bufferViewCount],
    const VkDescriptorImageInfo* pImageInfos?[imageInfoCount],
    const VkDescriptorBufferInfo* pBufferInfos?[bufferInfoCount],
    const VkBufferView* pBufferViews?[bufferViewCount]);
void vkUpdateDescriptorSetWithTemplateSized2GOOGLE(VkDevice device, VkDescriptorSet descriptorSet,
    VkDescriptorUpdateTemplate descriptorUpdateTemplate, uint32_t imageInfoCount,
    uint32_t bufferInfoCount, uint32_t bufferViewCount, uint32_t inlineUniformBlockCount,
    const uint32_t* pImageInfoEntryIndices?[imageInfoCount],
    const uint32_t* pBufferInfoEntryIndices?[bufferInfoCount],
    const uint32_t* pBufferViewEntryIndices?[bufferViewCount],
    const VkDescriptorImageInfo* pImageInfos?[imageInfoCount],
    const VkDescriptorBufferInfo* pBufferInfos?[bufferInfoCount],
    const VkBufferView* pBufferViews?[bufferViewCount],
    const uint8_t* pInlineUniformBlockData?[inlineUniformBlockCount]);
"""

# Extension number 386.
STRUCTS = {
    "VkImportColorBufferGOOGLE": (1000385000, "uint32_t colorBuffer"),
    "VkImportBufferGOOGLE": (1000385001, "uint32_t buffer"),
    "VkCreateBlobGOOGLE": (1000385002, "uint32_t blobMem, uint32_t blobFlags, uint64_t blobId"),
}
EXTENDS = "VkMemoryAllocateInfo"


def _member(text):
    match = re.fullmatch(r"(const )?(\w+)(\*?) (\w+)(\??)(?:\[(\w+)\])?", " ".join(text.split()))
    const, kind, pointer, name, optional, length = match.groups()
    return Member(name=name, type=kind, const=bool(const), pointers=len(pointer), length=length,
                  optional=("true",) if optional else ())


def stype_constant(name):
    """VkCreateBlobGOOGLE -> VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE"""
    words = re.findall(r"[A-Z][a-z]+|GOOGLE", name[2:])
    return "VK_STRUCTURE_TYPE_" + "_".join(words).upper()


def add_to(registry):
    for result, name, parameters in re.findall(r"(\w+) (vk\w+)\((.*?)\);", COMMANDS, re.S):
        registry.commands[name] = Command(
            name, result, [_member(text) for text in parameters.split(",")])
    for name, (number, members) in STRUCTS.items():
        constant = stype_constant(name)
        registry.stypes[constant] = number
        head = [Member("sType", "VkStructureType", stype=constant),
                Member("pNext", "void", const=True, pointers=1)]
        registry.structs[name] = Struct(
            name, head + [_member(text) for text in members.split(",")], extends=(EXTENDS,))
        registry.core_types.add(name)
