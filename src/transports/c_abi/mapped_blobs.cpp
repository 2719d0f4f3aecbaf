// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/mapped_blobs.h"

#include <sys/mman.h>

#include <utility>

#include "base/memory_file.h"

namespace swede::c_abi {

bool is_writable(const rutabaga::SharedMemory& memory) {
    const auto file = examine_memory(memory.fd.get());
    return file && file->writable && memory.access == Access::kReadWrite;
}

Result<std::span<std::byte>> MappedBlobs::add(rutabaga::ResourceId resource,
                                              const rutabaga::SharedMemory& memory, uint64_t size,
                                              Charges charges) {
    const auto file = examine_memory(memory.fd.get());
    if (!file || !file->steady)
        return fail(
            ErrorCode::kUnspecified,
            "The memory of blob {} is a file that may lose its pages, which nobody can map.",
            resource);
    const int fd = memory.fd.get();
    Entry entry{SWEDE_TRY(is_writable(memory)
                              ? Mapping::own_file(fd, memory.offset, size, Access::kReadWrite)
                              : Mapping::private_file(fd, memory.offset, size)),
                std::move(charges)};
    const std::span<std::byte> mapped = entry.mapping.bytes();
    live_.insert_or_assign(resource, std::move(entry));
    return mapped;
}

Result<void> MappedBlobs::remove(rutabaga::ResourceId resource) {
    release_retired();
    const auto live = live_.find(resource);
    const auto kept = kept_.find(resource);
    if (live == live_.end() && kept == kept_.end())
        return fail(ErrorCode::kInvalidParameter, "Resource {} is not mapped.", resource);
    if (kept == kept_.end()) {
        retire(std::move(live->second));
        live_.erase(live);
        return {};
    }
    if (live != live_.end()) {
        kept->second.entries.push_back(std::move(live->second));
        live_.erase(live);
    }
    if (++kept->second.removed == kept->second.entries.size()) {
        for (Entry& entry : kept->second.entries) retire(std::move(entry));
        kept_.erase(kept);
    }
    return {};
}

void MappedBlobs::forget_resource(rutabaga::ResourceId resource) {
    release_retired();
    const auto live = live_.find(resource);
    if (live == live_.end()) return;
    kept_[resource].entries.push_back(std::move(live->second));
    live_.erase(live);
}

size_t MappedBlobs::count() const {
    size_t count = live_.size();
    for (const auto& [resource, kept] : kept_) count += kept.entries.size();
    return count;
}

void MappedBlobs::retire(Entry entry) {
    // Whoever still reads there must not fault, and must not see what the memory's next owner
    // writes. If the kernel has no room for that, the old memory stays for as long.
    static_cast<void>(::mmap(entry.mapping.data(), entry.mapping.size(), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
    entry.charges.copies.release();
    entry.charges.bytes.reset();
    retired_.push_back({std::move(entry), clock_()});
}

void MappedBlobs::release_retired() {
    const auto now = clock_();
    while (!retired_.empty() && now - retired_.front().since >= kGrace) retired_.pop_front();
}

void MappedBlobs::clear() {
    live_.clear();
    kept_.clear();
    retired_.clear();
}

}  // namespace swede::c_abi
