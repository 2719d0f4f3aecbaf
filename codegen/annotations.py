# SPDX-License-Identifier: Apache-2.0
"""What the registry does not say: how each command is served, and where gfxstream's wire form
departs from the rule. Facts come from Mesa's src/gfxstream/codegen (25.0.7 and 26.0.3)."""

# --- commands -----------------------------------------------------------------------------------

# Written by hand: members of Session. Aliases call these, too.
CUSTOM = frozenset("""
vkEnumerateInstanceVersion vkEnumerateInstanceExtensionProperties vkEnumerateInstanceLayerProperties
vkCreateInstance vkDestroyInstance vkEnumeratePhysicalDevices vkEnumeratePhysicalDeviceGroups
vkEnumerateDeviceExtensionProperties vkEnumerateDeviceLayerProperties
vkGetPhysicalDeviceFeatures vkGetPhysicalDeviceFeatures2
vkGetPhysicalDeviceProperties vkGetPhysicalDeviceProperties2
vkGetPhysicalDeviceMemoryProperties vkGetPhysicalDeviceMemoryProperties2
vkGetPhysicalDeviceFormatProperties2 vkGetPhysicalDeviceImageFormatProperties2
vkGetPhysicalDeviceExternalBufferProperties vkGetPhysicalDeviceExternalFenceProperties
vkGetPhysicalDeviceExternalSemaphoreProperties vkGetPhysicalDeviceToolProperties
vkGetPhysicalDeviceQueueFamilyProperties vkGetPhysicalDeviceQueueFamilyProperties2

vkCreateDevice vkDestroyDevice vkGetDeviceQueue vkGetDeviceQueue2 vkDeviceWaitIdle
vkQueueWaitIdle vkQueueWaitIdleAsyncGOOGLE vkQueueSubmit vkQueueSubmit2
vkQueueSubmitAsyncGOOGLE vkQueueSubmitAsync2GOOGLE vkQueueBindSparse vkQueueBindSparseAsyncGOOGLE
vkQueueFlushCommandsGOOGLE

vkAllocateMemory vkFreeMemory vkFreeMemorySyncGOOGLE vkGetBlobGOOGLE
vkGetMemoryHostAddressInfoGOOGLE vkFlushMappedMemoryRanges vkInvalidateMappedMemoryRanges
vkBindBufferMemory vkBindBufferMemory2 vkBindImageMemory vkBindImageMemory2

vkCreateBuffer vkCreateBufferWithRequirementsGOOGLE vkDestroyBuffer
vkGetBufferMemoryRequirements vkGetBufferMemoryRequirements2 vkGetDeviceBufferMemoryRequirements
vkCreateImage vkCreateImageWithRequirementsGOOGLE vkDestroyImage
vkGetImageMemoryRequirements vkGetImageMemoryRequirements2 vkGetDeviceImageMemoryRequirements
vkGetImageSubresourceLayout vkGetImageSubresourceLayout2 vkGetDeviceImageSubresourceLayout
vkGetImageDrmFormatModifierPropertiesEXT vkCreateImageView vkCreateBufferView vkCreateSampler

vkCreateFence vkDestroyFence vkResetFences vkGetFenceStatus vkWaitForFences vkGetEventStatus
vkCreateSemaphore vkDestroySemaphore vkWaitSemaphores vkSignalSemaphore vkGetSemaphoreCounterValue

vkCreateQueryPool vkGetQueryPoolResults vkResetQueryPool

vkCreateCommandPool vkDestroyCommandPool vkResetCommandPool vkTrimCommandPool
vkAllocateCommandBuffers
vkFreeCommandBuffers vkBeginCommandBufferAsyncGOOGLE vkEndCommandBufferAsyncGOOGLE
vkResetCommandBufferAsyncGOOGLE vkCmdExecuteCommands

vkCreateDescriptorPool vkDestroyDescriptorPool vkResetDescriptorPool vkAllocateDescriptorSets
vkFreeDescriptorSets vkCreateDescriptorUpdateTemplate
vkUpdateDescriptorSetWithTemplateSizedGOOGLE vkUpdateDescriptorSetWithTemplateSized2GOOGLE

vkCreateDescriptorSetLayout vkCreatePipelineLayout vkDestroyPipelineLayout vkCmdBindDescriptorSets
vkCreateRenderPass vkCreateRenderPass2 vkCreateFramebuffer vkCmdBeginRenderPass
vkCmdBeginRenderPass2 vkCmdNextSubpass vkCmdNextSubpass2 vkCmdEndRenderPass vkCmdEndRenderPass2
vkCmdBeginRendering vkCmdEndRendering vkCmdClearAttachments

vkCreateGraphicsPipelines vkCreateComputePipelines vkCreatePipelineCache vkMergePipelineCaches
vkCreateShaderModule vkCmdBindPipeline
vkCreatePrivateDataSlot vkDestroyPrivateDataSlot vkSetPrivateData vkGetPrivateData
""".split())

# Decoded, then answered with this result: what we offer to no guest, but a guest has code for.
REFUSED = {
    "vkImportSemaphoreFdKHR": "VK_ERROR_INVALID_EXTERNAL_HANDLE",   # numbers of the guest's files
    "vkGetSemaphoreFdKHR": "VK_ERROR_FEATURE_NOT_PRESENT",
    "vkImportFenceFdKHR": "VK_ERROR_INVALID_EXTERNAL_HANDLE",
    "vkGetFenceFdKHR": "VK_ERROR_FEATURE_NOT_PRESENT",
    "vkCopyMemoryToImage": "VK_ERROR_FEATURE_NOT_PRESENT",          # host pointers do not cross
    "vkCopyImageToMemory": "VK_ERROR_FEATURE_NOT_PRESENT",
}

# Structures of these keep the guest's ids where they name objects; the handler looks them up.
RAW = frozenset("""
vkFlushMappedMemoryRanges vkInvalidateMappedMemoryRanges vkBindBufferMemory2 vkBindImageMemory2
vkGetBufferMemoryRequirements2 vkGetImageMemoryRequirements2 vkAllocateCommandBuffers
vkAllocateDescriptorSets
vkQueueSubmit vkQueueSubmit2 vkQueueSubmitAsyncGOOGLE vkQueueSubmitAsync2GOOGLE
""".split())

# Published in the order of sequence numbers before they run, as they may wait.
RELAXED = frozenset("""
vkWaitForFences vkWaitSemaphores vkQueueWaitIdle vkDeviceWaitIdle vkQueueFlushCommandsGOOGLE
""".split())

# Guests have encoders for these and never use them, at least not with our capset; or the wire form
# loses what the command needs (data behind void* without a length).
LEFT_OUT = frozenset("""
vkGetInstanceProcAddr vkGetDeviceProcAddr vkMapMemory vkUnmapMemory vkMapMemory2 vkUnmapMemory2
vkBeginCommandBuffer vkEndCommandBuffer vkResetCommandBuffer
vkUpdateDescriptorSetWithTemplate vkCmdPushDescriptorSetWithTemplate
vkCmdPushDescriptorSetWithTemplate2 vkMapMemoryIntoAddressSpaceGOOGLE vkCommandBufferHostSyncGOOGLE
vkQueueHostSyncGOOGLE vkGetLinearImageLayoutGOOGLE vkGetLinearImageLayout2GOOGLE
vkGetSemaphoreGOOGLE vkQueueFlushCommandsFromAuxMemoryGOOGLE vkCollectDescriptorPoolIdsGOOGLE
vkQueueCommitDescriptorSetUpdatesGOOGLE vkTraceAsyncGOOGLE vkSetDebugMetadataAsyncGOOGLE
vkGetSwapchainGrallocUsageANDROID vkGetSwapchainGrallocUsage2ANDROID vkAcquireImageANDROID
vkQueueSignalReleaseImageANDROID vkQueueSignalReleaseImageANDROIDAsyncGOOGLE
vkCmdSetDescriptorBufferOffsets2EXT vkCmdBindDescriptorBufferEmbeddedSamplers2EXT
vkGetMemoryFdKHR vkGetMemoryFdPropertiesKHR
vkCmdBindDescriptorSets2 vkCmdPushConstants2 vkCmdPushDescriptorSet vkCmdPushDescriptorSet2
""".split())

# Functions that only the host itself calls: members of the dispatch tables beside those of guests.
HOST_FUNCTIONS = """
vkGetDeviceProcAddr vkMapMemory vkUnmapMemory vkGetMemoryFdKHR vkGetMemoryFdPropertiesKHR
vkGetMemoryHostPointerPropertiesEXT vkBeginCommandBuffer vkEndCommandBuffer vkResetCommandBuffer
vkUpdateDescriptorSetWithTemplate
""".split()

# Which function frees an object of these types, where it is not vkDestroyX(device, x, NULL).
DESTROYED_BY = {"VkDeviceMemory": "vkFreeMemory"}
# Never freed one by one: owned by the driver or by their pool.
NEVER_DESTROYED = frozenset(
    ["VkPhysicalDevice", "VkQueue", "VkDescriptorSet", "VkPrivateDataSlot", "VkDisplayKHR",
     "VkDisplayModeKHR"])

# --- structures ---------------------------------------------------------------------------------

# A guest must not send these: each would let it name files, addresses, functions or settings of the
# host's process. An unknown structure loses the context.
FORBIDDEN_STRUCTS = frozenset("""
VkImportMemoryFdInfoKHR VkImportMemoryHostPointerInfoEXT VkDirectDriverLoadingListLUNARG
VkLayerSettingsCreateInfoEXT VkValidationFlagsEXT VkValidationFeaturesEXT
VkDebugReportCallbackCreateInfoEXT VkDebugUtilsMessengerCreateInfoEXT
VkDebugUtilsObjectNameInfoEXT VkDebugUtilsObjectTagInfoEXT VkDebugUtilsLabelEXT
""".split())
# Read to the end, then left out of the chain: the guest emulates what they ask for.
DROPPED_STRUCTS = frozenset(["VkDeviceDeviceMemoryReportCreateInfoEXT"])
# Video needs sessions, which no guest has.
LEFT_OUT_STRUCTS = r"Video|NVX$"

# --- wire form ----------------------------------------------------------------------------------

# `optional` came to the registry after the wire form was fixed: no marker (vulkantypes.py,
# STRUCT_MEMBER_IGNORE_OPTIONAL).
PINNED_WITHOUT_MARKER = frozenset("""
VkSubmitInfo.pWaitDstStageMask VkPipelineLayoutCreateInfo.pSetLayouts
VkGraphicsPipelineCreateInfo.pStages VkPipelineColorBlendStateCreateInfo.pAttachments
VkFramebufferCreateInfo.pAttachments vkCmdBindDescriptorSets.pDescriptorSets
vkCmdBindVertexBuffers.pBuffers vkCmdClearColorImage.pColor
VkDeviceDeviceMemoryReportCreateInfoEXT.pUserData
""".split())

# Two be32 stand before sType of this structure (vulkantypes.py, STRUCT_ENV_STR).
PREFIXED_STRUCT = "VkGraphicsPipelineCreateInfo"

# Members whose bodies cross only under a condition of layout.h (STRUCT_MEMBER_FILTER_*).
CONDITIONS = {
    "VkGraphicsPipelineCreateInfo.pTessellationState": "kTessellation",
    "VkGraphicsPipelineCreateInfo.pViewportState": "kRasterization",
    "VkGraphicsPipelineCreateInfo.pMultisampleState": "kRasterization",
    "VkGraphicsPipelineCreateInfo.pDepthStencilState": "kRasterization",
    "VkGraphicsPipelineCreateInfo.pColorBlendState": "kRasterization",
    "VkWriteDescriptorSet.pImageInfo": "kImageDescriptor",
    "VkWriteDescriptorSet.pBufferInfo": "kBufferDescriptor",
    "VkWriteDescriptorSet.pTexelBufferView": "kTexelBufferDescriptor",
    "VkFramebufferCreateInfo.pAttachments": "kNotImageless",
}

# Of these, those that no use with that condition goes without.
NEEDED_BY_CONDITION = frozenset(["VkWriteDescriptorSet.pImageInfo",
                                 "VkWriteDescriptorSet.pBufferInfo",
                                 "VkWriteDescriptorSet.pTexelBufferView"])

# Handles that Vulkan ignores in some uses: an unknown id reads as VK_NULL_HANDLE.
IGNORABLE_HANDLES = frozenset("""
VkDescriptorImageInfo.sampler VkDescriptorImageInfo.imageView
VkGraphicsPipelineCreateInfo.basePipelineHandle VkComputePipelineCreateInfo.basePipelineHandle
VkCommandBufferInheritanceInfo.renderPass VkCommandBufferInheritanceInfo.framebuffer
VkDescriptorSetLayoutBinding.pImmutableSamplers VkWriteDescriptorSet.dstSet
VkDescriptorUpdateTemplateCreateInfo.descriptorSetLayout
VkDescriptorUpdateTemplateCreateInfo.pipelineLayout
""".split())

# Arrays of handles in which 0 is allowed, beyond those that the registry names.
MAY_HOLD_NULL = frozenset(["vkUpdateDescriptorSetWithTemplateSizedGOOGLE.pBufferViews",
                           "vkUpdateDescriptorSetWithTemplateSized2GOOGLE.pBufferViews"])

# Lengths that are no member: kind of layout.h and the member that it is computed from.
SPECIAL_LENGTHS = {
    "VkShaderModuleCreateInfo.pCode": ("kQuarter64", "codeSize"),
    "VkPipelineMultisampleStateCreateInfo.pSampleMask": ("kBitWords", "rasterizationSamples"),
}
