// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace swede::gfxstream::vulkan {

// The C library's heap of a renderer process, which Vulkan drivers share.

/// Before drivers are loaded: large blocks lie in mappings of their own, so that what a driver
/// never touches is never there and what it frees is gone. Left alone, the limit rises with the
/// first large block that is freed (mallopt(3)), and every program that does nothing costs 3 MB
/// more on lavapipe.
void keep_heap_small();

/// Once a guest has work: drivers of the CPU take and free large blocks for each pipeline and
/// frame, and a mapping for each takes them longer than the work. Does nothing without the former,
/// nor the second time. From any thread.
void let_heap_grow();

}  // namespace swede::gfxstream::vulkan
