// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/in_process_window.h"

#include <utility>

namespace swede::virtio_gpu {
namespace {

/// Each is a mapping of this process, of which Linux allows 65530 by default (vm.max_map_count).
constexpr uint32_t kMaxMappings = 4096;

}  // namespace

const Mapping* InProcessWindow::mapping(uint64_t offset) const {
    const auto found = mapped_.find(offset);
    return found == mapped_.end() ? nullptr : &found->second;
}

uint32_t InProcessWindow::max_mappings() const {
    return kMaxMappings;
}

Result<std::optional<rutabaga::WindowRange>> InProcessWindow::prepare(uint64_t, uint64_t) {
    return std::nullopt;
}

void InProcessWindow::map(uint64_t offset, rutabaga::SharedMemory memory,
                          rutabaga::Completion<> done) {
    Result<Mapping> mapping =
        Mapping::peer_file(memory.fd.get(), memory.offset, memory.size, memory.access);
    if (!mapping) return done(std::unexpected(std::move(mapping).error()));
    mapped_.insert_or_assign(offset, *std::move(mapping));
    done({});
}

void InProcessWindow::unmap(uint64_t offset, uint64_t, rutabaga::Completion<> done) {
    mapped_.erase(offset);
    done({});
}

void InProcessWindow::reset() {
    mapped_.clear();
}

}  // namespace swede::virtio_gpu
