// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <utility>

#include "base/mapping.h"
#include "virtio_gpu/host_visible_window.h"

namespace swede::virtio_gpu::testing {

/// A window that maps what it is shown, as a VMM does that maps on request.
class MappedWindow final : public HostVisibleWindow {
  public:
    explicit MappedWindow(uint64_t size) : size_(size) {}

    /// What begins at `offset`; null if nothing does.
    [[nodiscard]] const Mapping* mapping(uint64_t offset) const {
        const auto found = mapped_.find(offset);
        return found == mapped_.end() ? nullptr : &found->second;
    }

    [[nodiscard]] uint64_t size() const override { return size_; }
    [[nodiscard]] uint32_t max_mappings() const override { return 4096; }
    [[nodiscard]] Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t,
                                                                       uint64_t) override {
        return std::nullopt;
    }
    void map(uint64_t offset, rutabaga::SharedMemory memory, rutabaga::Completion<> done) override {
        Result<Mapping> mapping =
            Mapping::peer_file(memory.fd.get(), memory.offset, memory.size, memory.access);
        if (!mapping) return done(std::unexpected(std::move(mapping).error()));
        mapped_.insert_or_assign(offset, *std::move(mapping));
        done({});
    }
    void unmap(uint64_t offset, uint64_t, rutabaga::Completion<> done) override {
        mapped_.erase(offset);
        done({});
    }
    void reset() override { mapped_.clear(); }

  private:
    const uint64_t size_;
    std::map<uint64_t, Mapping> mapped_;
};

}  // namespace swede::virtio_gpu::testing
