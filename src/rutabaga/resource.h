// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/backing.h"
#include "base/budget.h"
#include "rutabaga/completion.h"
#include "rutabaga/pixel_format.h"
#include "rutabaga/renderer.h"

namespace swede::rutabaga {

class PixelStorage;  // pixel_storage.h: host pixels of a 2D resource, shared with its frames

/// One thing that a guest created under a resource id. Owned by Gpu, on the device thread; dies at
/// RESOURCE_UNREF or reset. Its budget charges die with it.
struct Resource {
    enum class Kind : uint8_t {
        k2d,         ///< pixels in PixelStorage, in the core, or over memory of the VMM's
        kGuestBlob,  ///< guest memory only, in the core
        kHostBlob,   ///< memory of a renderer (HOST3D, HOST3D_GUEST)
        k3d,         ///< of the renderer that owns 3D resources
    };

    /// The id is taken from the start of its creation to the end of its destruction; only a live
    /// resource is found.
    enum class State : uint8_t { kCreating, kLive, kDestroying };

    ResourceId id = 0;
    State state = State::kLive;
    Kind kind = Kind::k2d;
    /// Of host blobs and 3D resources, and of pictures over memory of the VMM's.
    Renderer* renderer = nullptr;
    uint64_t size = 0;    ///< bytes of a blob
    uint32_t width = 0;   ///< px of a 2D or 3D resource
    uint32_t height = 0;  ///< px
    /// Of a 2D or 3D resource; empty: one that scanout does not know (3D only).
    std::optional<PixelFormat> format;
    uint32_t blob_flags = 0;
    uint32_t map_info = 0;  ///< cache type for RESP_OK_MAP_INFO
    std::shared_ptr<PixelStorage> pixels;
    std::shared_ptr<Backing> backing;
    bool reached_renderer = false;                ///< a renderer was given its backing
    std::vector<ContextId> contexts;              ///< that have it attached
    std::optional<std::array<uint8_t, 16>> uuid;  ///< once asked for
    std::optional<uint64_t> window_offset;  ///< where it is mapped; kept by the window's owner
    std::vector<Budget::Charge> charges;
    Budget::Charge backing_charge;  ///< of the segments of `backing`
    /// Of a host blob's or a 3D resource's bytes; its frames hold it too, since they keep its
    /// memory.
    std::shared_ptr<const Budget::Charge> bytes_charge;
};

}  // namespace swede::rutabaga
