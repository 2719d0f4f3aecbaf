// SPDX-License-Identifier: Apache-2.0
// A snapshot that nobody wrote: the input is a file, with a checksum that is made good or left as
// it is. What was loaded must come out as it went in. Parsers:
// src/transports/c_abi/snapshot_file.cpp
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "require.h"
#include "small_limits.h"
#include "transports/c_abi/instance.h"
#include "transports/c_abi/snapshot_file.h"
#include "transports/c_abi/snapshot_format.h"

namespace {

using namespace swede;
using namespace swede::c_abi;
using fuzz::require;

// What the input's first byte asks for.
constexpr uint8_t kGoodChecksum = 1;  // behind the file
constexpr uint8_t kPixels = 2;    // behind the file, before the checksum: as the second byte says
constexpr uint8_t kCut = 4;       // the file is shorter than it was said to be
constexpr uint8_t kOccupied = 8;  // the instance has a resource
constexpr uint64_t kPixelUnit = 2048;  // bytes; 255 of them are more than is read at a time

std::shared_ptr<Instance> make_instance() {
    Options options;
    options.callbacks = {
        0, [](uint64_t, const rutabaga_fence*) {},
        [](uint64_t, const rutabaga_debug* debug) { require(std::strlen(debug->message) != 0); }};
    options.limits = fuzz::limits_with({{BudgetKind::kHostBytes, 1 << 20},
                                        {BudgetKind::kResources, 16},
                                        {BudgetKind::kBackingSegments, 16}});
    return Instance::create(std::move(options)).value();
}

/// Files of memory that are used again: one is made for the whole hunt, not for each input.
class File {
  public:
    File() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {}
    [[nodiscard]] int fd() const { return fd_.get(); }
    void put(std::span<const uint8_t> bytes) {
        require(::ftruncate(fd(), 0) == 0 && ::lseek(fd(), 0, SEEK_SET) == 0);
        require(::pwrite(fd(), bytes.data(), bytes.size(), 0) ==
                static_cast<ssize_t>(bytes.size()));
    }
    [[nodiscard]] std::vector<uint8_t> bytes() const {
        std::vector<uint8_t> all(static_cast<size_t>(::lseek(fd(), 0, SEEK_END)));
        require(::pread(fd(), all.data(), all.size(), 0) == static_cast<ssize_t>(all.size()));
        return all;
    }

  private:
    UniqueFd fd_;
};

void is_empty(Instance& instance) {
    const Budget& budget = instance.gpu().budget();
    require(instance.gpu().num_resources() == 0);
    for (const BudgetKind kind :
         {BudgetKind::kHostBytes, BudgetKind::kResources, BudgetKind::kBackingSegments})
        require(budget.used(kind) == 0);
}

int32_t load(Instance& instance, const File& file, uint64_t size) {
    const int32_t result =
        instance.call("load", [&](Instance& i) { return read_snapshot(i, file.fd(), size); });
    constexpr std::array kErrors{0, -EINVAL, -ENOENT, -ENOMEM, -EEXIST};
    require(std::ranges::find(kErrors, result) != kErrors.end());
    return result;
}

std::vector<uint8_t> saved(Instance& instance, File& file) {
    file.put({});
    require(instance.call("save", [&](Instance& i) { return write_snapshot(i, file.fd()); }) == 0);
    return file.bytes();
}

std::vector<uint8_t> file_of(std::span<const uint8_t> data, uint8_t kind, uint8_t units) {
    std::vector<uint8_t> file(data.begin(), data.end());
    if ((kind & kPixels) != 0)
        for (uint64_t i = 0; i < units * kPixelUnit; ++i) file.push_back(static_cast<uint8_t>(i));
    if ((kind & kGoodChecksum) != 0) {
        snapshot::Checksum checksum;
        checksum.add(file.data(), file.size());
        const uint64_t sum = checksum.value();
        file.resize(file.size() + sizeof(sum));
        std::memcpy(file.data() + file.size() - sizeof(sum), &sum, sizeof(sum));
    }
    return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static File file;
    if (size < 2) return 0;
    const uint8_t kind = data[0];
    const std::vector<uint8_t> bytes = file_of(std::span(data + 2, size - 2), kind, data[1]);
    const auto instance = make_instance();
    if ((kind & kOccupied) != 0)
        require(instance->call("create", [](Instance& i) {
            return i.create_3d(1, {2, 1, 2, 4, 4, 1, 1, 0, 0, 1});
        }) == 0);
    file.put(bytes);
    const int32_t result = load(*instance, file, bytes.size() + ((kind & kCut) != 0 ? 8 : 0));
    if ((kind & kOccupied) != 0) {
        require(result == -EEXIST && instance->gpu().num_resources() == 1);
    } else if (result != 0) {
        is_empty(*instance);
    } else {
        require((kind & kCut) == 0);
        const std::vector<uint8_t> first = saved(*instance, file);
        const auto other = make_instance();
        file.put(first);
        require(load(*other, file, first.size()) == 0);
        require(saved(*other, file) == first);
        require(other->gpu().resource_ids() == instance->gpu().resource_ids());
    }
    require(instance->finish());
    return 0;
}
