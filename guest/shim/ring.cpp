// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <sys/mman.h>

#include <atomic>
#include <bit>

#include "libc.h"

namespace swede::shim {
namespace {

// Mesa 25.0.7, src/gfxstream/guest/GoldfishAddressSpace/include/address_space_graphics_types.h and
// src/gfxstream/aemu/include/ring_buffer.h: three rings of a page each, then the data of the two
// large ones.
constexpr size_t kToHost = 0;
constexpr size_t kToHostLarge = 4096;
constexpr size_t kFromHostLarge = 8192;
constexpr size_t kData = 12288;
constexpr size_t kWritePosition = 8;
constexpr size_t kReadPosition = 64;
constexpr size_t kBufferSize = 2180;  ///< of the first ring: the configuration begins there
constexpr size_t kTransferSize = 2200;
constexpr size_t kInError = 2204;

constexpr uint32_t kDeviceLost = static_cast<uint32_t>(-4);

}  // namespace

Ring::Ring(int fd, uint64_t offset, uint64_t size) {
    if (size <= kData) return;
    void* const data = libc().mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                   static_cast<off_t>(offset));
    if (data == MAP_FAILED) return;
    data_ = static_cast<std::byte*>(data);
    size_ = size;
}

Ring::~Ring() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

void Ring::abort() {
    const auto word = [this](size_t at) {
        return std::atomic_ref(*reinterpret_cast<uint32_t*>(data_ + at));
    };
    const uint32_t buffer = word(kBufferSize);
    if (!std::has_single_bit(buffer) || buffer < sizeof(uint32_t) || buffer > size_ - kData) return;
    // With in_error a reader throws away what it has read and reads on, for ever (Mesa 25.0.7,
    // AddressSpaceStream.cpp, speculativeRead()): it must not be set, by the renderer neither.
    word(kInError) = 0;
    // What the program has written counts as read, so that he who waits for room goes on.
    word(kTransferSize) = 0;
    word(kToHost + kReadPosition) = word(kToHost + kWritePosition).load();
    word(kToHostLarge + kReadPosition) = word(kToHostLarge + kWritePosition).load();
    for (size_t at = 0; at < buffer; at += sizeof(uint32_t)) word(kData + at) = kDeviceLost;
    // As much as fits: one byte of a ring always stays free.
    word(kFromHostLarge + kWritePosition) = word(kFromHostLarge + kReadPosition) + buffer - 1;
}

}  // namespace swede::shim
