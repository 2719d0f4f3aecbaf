// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace swede::gfxstream::vulkan::cost {

// What a driver takes of the host's memory for objects that are large or whose size the guest
// chooses, in bytes.
// Estimates, generous for Mesa's drivers: a guest must not get much more than it has paid for. What
// an object costs whatever is in it, HandleTable charges.

inline constexpr uint64_t kInstance = 1 << 20;
inline constexpr uint64_t kDevice = 4 << 20;  ///< with its queues and their threads
inline constexpr uint64_t kPrivateValue = 96;
inline constexpr uint64_t kDescriptor = 64;
inline constexpr uint64_t kDescriptorSet = 256;
inline constexpr uint64_t kBinding = 64;  ///< of a layout, unused numbers below it included
inline constexpr uint64_t kQuery = 64;
inline constexpr uint64_t kCommandBuffer = 4096;  ///< beside what is recorded
inline constexpr uint64_t kRenderPassPart = 128;  ///< an attachment, subpass, reference, dependency
/// Times what the guest sent: the shortest command has 8 bytes, and a driver of the CPU keeps some
/// 128 of each.
inline constexpr uint64_t kRecording = 16;
inline constexpr uint64_t kShaderCode = 4;  ///< times the code
/// A trivial compute pipeline of lavapipe (Mesa 25.0) takes 25 KiB; and times the code.
inline constexpr uint64_t kPipeline = 64 << 10;
inline constexpr uint64_t kPipelineCode = 16;
/// What stays of a pipeline in a cache is this part of its price.
inline constexpr uint64_t kCachedPart = 4;
inline constexpr uint64_t kCachedBytes = 2;  ///< times what a cache is when it is written down

// Beyond these, whatever was paid.
inline constexpr uint64_t kMostSets = 1 << 20;            ///< of a pool
inline constexpr uint64_t kMostDescriptors = 1 << 24;     ///< of a pool or a layout
inline constexpr uint64_t kMostImmutableSamplers = 4096;  ///< of a layout
inline constexpr uint64_t kMostAttachments = 1024;
inline constexpr uint64_t kMostCommandBuffers = 1 << 16;  ///< of one call
inline constexpr uint64_t kMostPipelines = 1024;          ///< of one call
inline constexpr uint64_t kMostCached = 64 << 20;         ///< bytes, of a pipeline cache
/// Pipeline layouts of a device that the guest destroyed and its recordings may still name.
inline constexpr uint64_t kMostDestroyedLayouts = 4096;

}  // namespace swede::gfxstream::vulkan::cost
