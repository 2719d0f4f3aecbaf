// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/snapshot_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "rutabaga/pixel_storage.h"
#include "transports/c_abi/caller_memory.h"
#include "transports/c_abi/snapshot_format.h"

namespace swede::c_abi {
namespace {

using rutabaga::Resource;
using snapshot::FileHeader;
using snapshot::Record;

constexpr uint64_t kPieceBytes = 256 << 10;  // of pixels at a time; a row has at most 64 KiB

class Writer {
  public:
    explicit Writer(int fd) : fd_(fd) {}

    [[nodiscard]] Result<void> write(const void* bytes, uint64_t size) {
        checksum_.add(bytes, size);
        return put(bytes, size);
    }
    [[nodiscard]] Result<void> end() {
        const uint64_t sum = checksum_.value();
        SWEDE_TRY(put(&sum, sizeof(sum)));
        if (::fsync(fd_) != 0) return fail_errno("Cannot write the snapshot", errno);
        return {};
    }

  private:
    [[nodiscard]] Result<void> put(const void* bytes, uint64_t size) {
        const auto* from = static_cast<const std::byte*>(bytes);
        while (size != 0) {
            const ssize_t done = ::write(fd_, from, size);
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0)
                return fail_errno("Cannot write the snapshot", done < 0 ? errno : ENOSPC);
            from += done;
            size -= static_cast<uint64_t>(done);
        }
        return {};
    }

    int fd_;
    snapshot::Checksum checksum_;
};

class Reader {
  public:
    Reader(int fd, uint64_t size) : fd_(fd), left_(size) {}

    [[nodiscard]] Result<void> read(void* bytes, uint64_t size) {
        SWEDE_TRY(get(bytes, size));
        checksum_.add(bytes, size);
        return {};
    }
    [[nodiscard]] Result<void> end() {
        uint64_t sum = 0;
        SWEDE_TRY(get(&sum, sizeof(sum)));
        if (left_ != 0)
            return fail(ErrorCode::kInvalidParameter, "The snapshot has {} bytes behind its end.",
                        left_);
        if (sum != checksum_.value())
            return fail(ErrorCode::kInvalidParameter, "The snapshot's checksum is wrong.");
        return {};
    }
    [[nodiscard]] uint64_t left() const { return left_; }

  private:
    [[nodiscard]] Result<void> get(void* bytes, uint64_t size) {
        auto* to = static_cast<std::byte*>(bytes);
        if (size > left_)
            return fail(ErrorCode::kInvalidParameter,
                        "The snapshot ends {} bytes before something in it does.", size - left_);
        left_ -= size;
        while (size != 0) {
            const ssize_t done = ::read(fd_, to, size);
            if (done < 0 && errno == EINTR) continue;
            if (done < 0) return fail_errno("Cannot read the snapshot", errno);
            if (done == 0)
                return fail(ErrorCode::kInvalidParameter,
                            "The snapshot was cut while it was read.");
            to += done;
            size -= static_cast<uint64_t>(done);
        }
        return {};
    }

    int fd_;
    uint64_t left_;  ///< bytes of the file
    snapshot::Checksum checksum_;
};

/// Calls `function` for pieces of a picture from top to bottom.
template <typename Function>
Result<void> for_each_piece(uint32_t width, uint32_t height, Function function) {
    const uint64_t row = uint64_t{width} * rutabaga::kBytesPerPixel;
    const auto rows = static_cast<uint32_t>(std::max<uint64_t>(kPieceBytes / row, 1));
    for (uint32_t y = 0; y < height; y += rows) {
        const wire::Rect rect{0, y, width, std::min(rows, height - y)};
        SWEDE_TRY(function(rect, row * rect.height));
    }
    return {};
}

Result<Record> record_of(const Resource& resource) {
    Record record{};
    record.id = resource.id;
    if (resource.kind == Resource::Kind::k2d && resource.renderer == nullptr && resource.format) {
        record.kind = snapshot::kKind2d;
        record.format = static_cast<uint32_t>(*resource.format);
        record.width = resource.width;
        record.height = resource.height;
        return record;
    }
    if (resource.kind == Resource::Kind::kGuestBlob) {
        record.kind = snapshot::kKindGuestBlob;
        record.blob_flags = resource.blob_flags;
        record.size = resource.size;
        return record;
    }
    return fail(ErrorCode::kUnsupported,
                "Resource {} is of a renderer or a file, whose memory cannot be saved.",
                resource.id);
}

Result<void> load_2d(Instance& instance, const Record& record, Reader& reader) {
    rutabaga::Gpu& gpu = instance.gpu();
    SWEDE_TRY(gpu.create_2d({record.id, record.format, record.width, record.height}));
    const Resource& resource = *gpu.find(record.id);
    std::vector<std::byte> piece;
    return for_each_piece(
        record.width, record.height, [&](const wire::Rect& rect, uint64_t size) -> Result<void> {
            piece.resize(size);
            SWEDE_TRY(reader.read(piece.data(), size));
            const iovec memory{piece.data(), size};
            const auto backing = SWEDE_TRY(make_backing(std::span(&memory, 1), gpu.budget()));
            return resource.pixels->copy_from(*backing, 0, resource.pixels->stride(), rect);
        });
}

/// Without memory: the VMM attaches it anew. The core makes a blob with some, so it is lent some.
Result<void> load_guest_blob(Instance& instance, const Record& record) {
    const Mapping lent = SWEDE_TRY(Mapping::anonymous(record.size));
    const iovec memory{lent.data(), record.size};
    SWEDE_TRY(instance.create_blob(0, record.id,
                                   {RUTABAGA_BLOB_MEM_GUEST, record.blob_flags, 0, record.size},
                                   std::span(&memory, 1), {}));
    return instance.detach_backing(record.id);
}

Result<void> load_resource(Instance& instance, Reader& reader, std::vector<uint32_t>& made) {
    Record record{};
    SWEDE_TRY(reader.read(&record, sizeof(record)));
    if (instance.gpu().find(record.id) != nullptr)
        return fail(ErrorCode::kInvalidParameter, "The snapshot has resource {} twice.", record.id);
    made.push_back(record.id);
    if (record.kind == snapshot::kKind2d) return load_2d(instance, record, reader);
    if (record.kind == snapshot::kKindGuestBlob) return load_guest_blob(instance, record);
    return fail(ErrorCode::kInvalidParameter, "The snapshot has resource {} of kind {}.", record.id,
                record.kind);
}

Result<void> load_all(Instance& instance, Reader& reader, std::vector<uint32_t>& made) {
    FileHeader header{};
    SWEDE_TRY(reader.read(&header, sizeof(header)));
    if (header.magic != snapshot::kMagic || header.version != snapshot::kVersion)
        return fail(ErrorCode::kInvalidParameter,
                    "The file is no snapshot, or of another version ({}).", header.version);
    if (header.num_resources > reader.left() / sizeof(Record))
        return fail(ErrorCode::kInvalidParameter, "The snapshot is too short for {} resources.",
                    header.num_resources);
    for (uint32_t i = 0; i < header.num_resources; ++i)
        SWEDE_TRY(load_resource(instance, reader, made));
    return reader.end();
}

}  // namespace

Result<void> check_savable(Instance& instance) {
    rutabaga::Gpu& gpu = instance.gpu();
    if (gpu.num_contexts() != 0)
        return fail(ErrorCode::kUnsupported, "{} contexts cannot be saved.", gpu.num_contexts());
    for (const uint32_t id : gpu.resource_ids()) SWEDE_TRY(record_of(*gpu.find(id)));
    return {};
}

Result<void> write_snapshot(Instance& instance, int fd) {
    SWEDE_TRY(check_savable(instance));
    rutabaga::Gpu& gpu = instance.gpu();
    const std::vector<uint32_t> ids = gpu.resource_ids();
    Writer writer(fd);
    const FileHeader header{snapshot::kMagic, snapshot::kVersion,
                            static_cast<uint32_t>(ids.size())};
    SWEDE_TRY(writer.write(&header, sizeof(header)));
    std::vector<std::byte> piece;
    for (const uint32_t id : ids) {
        const Resource& resource = *gpu.find(id);
        const Record record = SWEDE_TRY(record_of(resource));
        SWEDE_TRY(writer.write(&record, sizeof(record)));
        if (record.kind != snapshot::kKind2d) continue;
        SWEDE_TRY(for_each_piece(resource.width, resource.height,
                                 [&](const wire::Rect& rect, uint64_t size) -> Result<void> {
                                     piece.resize(size);
                                     resource.pixels->read(rect, piece.data(),
                                                           resource.pixels->stride());
                                     return writer.write(piece.data(), size);
                                 }));
    }
    return writer.end();
}

Result<void> read_snapshot(Instance& instance, int fd, uint64_t size) {
    rutabaga::Gpu& gpu = instance.gpu();
    if (gpu.num_resources() != 0 || gpu.num_contexts() != 0)
        return fail(ErrorCode::kExists,
                    "{} resources and {} contexts are in the way of a snapshot.",
                    gpu.num_resources(), gpu.num_contexts());
    Reader reader(fd, size);
    std::vector<uint32_t> made;
    Result<void> loaded = load_all(instance, reader, made);
    if (!loaded) {
        for (const uint32_t id : made)
            if (gpu.find(id) != nullptr && !instance.unref(id))
                instance.warn(fmt::format("Resource {} of a bad snapshot is still there.", id));
    }
    return loaded;
}

}  // namespace swede::c_abi
