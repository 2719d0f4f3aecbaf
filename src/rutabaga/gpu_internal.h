// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "rutabaga/context.h"
#include "rutabaga/gpu.h"

/// What gpu.cpp, gpu_resources.cpp and gpu_pixels.cpp share. Included by them only.
namespace swede::rutabaga {

template <typename T, typename U, typename Apply>
Completion<T> Gpu::when_answered(Completion<U> done, Apply apply) {
    return Completion<T>(sink_, [epoch = std::weak_ptr<Epoch>(epoch_), done = std::move(done),
                                 apply = std::move(apply)](Result<T> answer) mutable {
        if (epoch.expired())
            done(fail(ErrorCode::kDeviceLost, "The device was reset meanwhile."));
        else
            done(apply(std::move(answer)));
    });
}

}  // namespace swede::rutabaga
