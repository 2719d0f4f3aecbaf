// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/budget.h"
#include "rutabaga/gpu.h"

namespace swede::rutabaga {

/// One renderer context of the guest. Owned by Gpu, on the device thread; dies at CTX_DESTROY or
/// reset. Its budget charges die with it. Private to gpu*.cpp.
struct Gpu::Context {
    /// The id is taken from the start of its creation to the end of its destruction; only a live
    /// context is found.
    enum class State : uint8_t { kCreating, kLive, kDestroying };

    ContextId id = 0;
    State state = State::kCreating;
    bool lost = false;  ///< refuses commands, must still be destroyed
    Renderer* renderer = nullptr;
    /// Resources that are attached, each with its charge: the counterpart of Resource::contexts.
    std::unordered_map<ResourceId, Budget::Charge> attached;
    Budget::Charge charge;
};

}  // namespace swede::rutabaga
