// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "virtio_gpu/host_visible_window.h"

namespace swede::virtio_gpu {

/// A door without host-visible memory (`vhost-user-gpu`, or `--hostmem 0`): size 0, so every map is
/// refused before it comes here.
class NoWindow final : public HostVisibleWindow {
  public:
    [[nodiscard]] uint64_t size() const override { return 0; }
    [[nodiscard]] uint32_t max_mappings() const override { return 0; }
    [[nodiscard]] Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t,
                                                                       uint64_t) override {
        return fail(ErrorCode::kUnsupported, "The device has no host-visible window.");
    }
    void map(uint64_t, rutabaga::SharedMemory, rutabaga::Completion<> done) override {
        done(fail(ErrorCode::kUnsupported, "The device has no host-visible window."));
    }
    void unmap(uint64_t, uint64_t, rutabaga::Completion<> done) override { done({}); }
    void reset() override {}
};

}  // namespace swede::virtio_gpu
