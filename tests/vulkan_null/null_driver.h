// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>

namespace swede::vulkan_null {

/// A Vulkan driver in this process that executes nothing: for a Loader. What is submitted is done
/// once something waits. Handles are checked where they are used, those of recordings when these
/// are submitted and done; outputs are written to their end, and what breaks Vulkan's rules of
/// lifetimes ends the process. Thread-safe, as a driver is.
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_proc_addr(VkInstance instance, const char* name);

/// The function that is called after `calls` others fails, of those that return a VkResult. Once.
void fail_after(uint32_t calls, VkResult failure);

/// Submissions are not done, and waits time out, until this is called with false.
void hold_submissions(bool held);

/// Objects of all instances that were made and not freed.
[[nodiscard]] uint64_t live_objects();

}  // namespace swede::vulkan_null
