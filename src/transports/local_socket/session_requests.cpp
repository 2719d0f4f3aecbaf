// SPDX-License-Identifier: Apache-2.0
// Session: one function for each request of wire/local_socket.h.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "base/checked.h"
#include "renderer_process/exported_memory.h"
#include "transports/local_socket/read_only_file.h"
#include "transports/local_socket/session_table.h"

namespace swede::local_socket {
namespace {

using namespace wire::local;  // NOLINT: this file is one end of that protocol
using rutabaga::ResourceId;

/// Values of DRM_IOCTL_VIRTGPU_GETPARAM, by Linux's include/uapi/drm/virtgpu_drm.h.
constexpr uint32_t kParam3dFeatures = 1;
constexpr uint32_t kParamCapsetQueryFix = 2;
constexpr uint32_t kParamResourceBlob = 3;
constexpr uint32_t kParamHostVisible = 4;
constexpr uint32_t kParamCrossDevice = 5;
constexpr uint32_t kParamContextInit = 6;
constexpr uint32_t kParamSupportedCapsets = 7;
constexpr uint32_t kParamDebugName = 8;

constexpr uint32_t kMaxCapsetInMask = 31;  ///< the value has 32 bits

uint32_t access_of(const rutabaga::SharedMemory& memory) {
    return kMayRead | (memory.access == Access::kReadWrite ? kMayWrite : 0);
}

}  // namespace

std::span<const Session::Row> Session::rows() {
    static constexpr Row kRows[] = {
        {RequestType::kHello, sizeof(Hello), 0, 0, 0, true, false, &Session::hello},
        {RequestType::kContextInit, sizeof(ContextInit), 0, 0, 1, true, false,
         &Session::context_init},
        {RequestType::kCreateBlob, sizeof(CreateBlob), kMaxCommands, 0, 0, true, true,
         &Session::create_blob},
        {RequestType::kCreate3d, sizeof(Create3d), 0, 0, 0, true, true, &Session::create_3d},
        {RequestType::kMap, sizeof(ResourceOnly), 0, 0, 0, true, true, &Session::map},
        {RequestType::kExecbuffer, sizeof(Execbuffer),
         kMaxCommands + size_t{kMaxResourcesInSubmission} * sizeof(uint32_t), 0, 1, false, true,
         &Session::execbuffer},
        {RequestType::kWait, sizeof(Wait), 0, 0, 0, true, false, &Session::wait},
        {RequestType::kExport, sizeof(ResourceOnly), 0, 0, 0, true, true,
         &Session::export_resource},
        {RequestType::kImport, 0, 0, 1, 1, true, true, &Session::import_resource},
        {RequestType::kTransferToHost, sizeof(Transfer), 0, 0, 0, true, true, &Session::transfer},
        {RequestType::kTransferFromHost, sizeof(Transfer), 0, 0, 0, true, true, &Session::transfer},
        {RequestType::kClose, sizeof(ResourceOnly), 0, 0, 0, false, false,
         &Session::close_resource},
    };
    static_assert(std::size(kRows) == static_cast<size_t>(RequestType::kCount) - 1);
    return kRows;
}

ByteReader Session::payload() const {
    return ByteReader(std::span(message_.bytes).subspan(sizeof(Header)));
}

// --- what there is ---

Result<void> Session::hello() {
    const auto greeting = SWEDE_TRY(body<Hello>());
    if (greeting.version != kVersion)
        return fail(ErrorCode::kProtocol, "The program's shim speaks version {}, the device {}.",
                    greeting.version, kVersion);
    greeted_ = true;
    uint32_t mask = 0;
    std::vector<std::byte> capsets;
    const auto append = [&](std::span<const std::byte> bytes) {
        capsets.insert(capsets.end(), bytes.begin(), bytes.end());
    };
    for (const rutabaga::Capset& capset : parts_.capsets) {
        if (capset.id <= kMaxCapsetInMask) mask |= uint32_t{1} << capset.id;
        append(bytes_of(
            CapsetHeader{capset.id, capset.version, static_cast<uint32_t>(capset.data.size()), 0}));
        append(capset.data);
    }
    const uint32_t has_3d = parts_.capsets.empty() ? 0 : 1;
    const std::array<Param, 8> params{{
        {kParam3dFeatures, has_3d},
        {kParamCapsetQueryFix, 1},
        {kParamResourceBlob, has_3d},
        {kParamHostVisible, has_3d},
        {kParamCrossDevice, 0},
        {kParamContextInit, has_3d},
        {kParamSupportedCapsets, mask},
        {kParamDebugName, 1},
    }};
    const Welcome welcome{kVersion, static_cast<uint32_t>(params.size()),
                          static_cast<uint32_t>(parts_.capsets.size()), 0};
    const std::array<std::span<const std::byte>, 3> parts{
        bytes_of(welcome), std::as_bytes(std::span(params)), capsets};
    send(Report::kWelcome, header_.request, parts);
    return {};
}

Result<void> Session::context_init() {
    const auto request = SWEDE_TRY(body<ContextInit>());
    if (context_ != ContextState::kNone)
        return fail(ErrorCode::kExists, "Connection {} has a context already.", id_);
    const bool offered = std::ranges::any_of(parts_.capsets, [&](const rutabaga::Capset& capset) {
        return capset.id == request.capset;
    });
    if (!offered || request.num_rings > kMaxRings || request.name_size > sizeof(request.name))
        return fail(ErrorCode::kInvalidParameter,
                    "A context of capset {} with {} rings and a name of {} bytes is not possible.",
                    request.capset, request.num_rings, request.name_size);
    const uint64_t rings =
        request.num_rings == kMaxRings ? ~uint64_t{0} : (uint64_t{1} << request.num_rings) - 1;
    if ((request.poll_rings & ~rings) != 0)
        return fail(ErrorCode::kInvalidParameter, "Of {} rings those of {:#x} cannot be polled.",
                    request.num_rings, request.poll_rings);
    if (message_.fds.empty() != (request.poll_rings == 0))
        return fail(ErrorCode::kProtocol, "Rings are polled by a file, and only then it comes.");
    std::unique_ptr<EventFile> events;
    if (request.poll_rings != 0)
        events = SWEDE_TRY(
            EventFile::create(parts_.loop, std::move(message_.fds.front()), socket_.fd(), budget_));
    return create_context({request.capset, std::string(request.name, request.name_size)},
                          [this, request, events = std::move(events)]() mutable {
                              num_rings_ = request.num_rings;
                              poll_rings_ = request.poll_rings;
                              events_ = std::move(events);
                              answer(Answer{});
                              return Result<void>();
                          });
}

// --- resources ---

Result<Session::Known*> Session::known(uint32_t resource) {
    const auto found = resources_.find(resource);
    if (found == resources_.end())
        return fail(ErrorCode::kInvalidResource, "There is no resource {}.", resource);
    return &found->second;
}

Result<ResourceId> Session::new_id() {
    // Ids are not used again: Vulkan's objects in the renderer may be named by them.
    if (next_resource_ == UINT32_MAX)
        return fail(ErrorCode::kOutOfMemory, "The connection has used all resource ids.");
    return next_resource_++;
}

Result<void> Session::enter(ResourceId id, Known entry) {
    if (!gpu_->attaches_memory(kContext, id))
        return entered(id, std::move(entry), gpu_->attach_resource(kContext, id));
    gpu_->attach_with_memory(
        kContext, id,
        later<void>([this, id, entry = std::move(entry)](Result<void> attached) mutable {
            return entered(id, std::move(entry), std::move(attached));
        }));
    return {};
}

Result<void> Session::entered(ResourceId id, Known entry, Result<void> attached) {
    Answer made{};
    made.resource = id;
    made.blob_mem = entry.blob_mem;
    made.size = entry.size;
    if (const rutabaga::Resource* const resource = gpu_->find(id))
        made.map_info = resource->map_info;
    if (!attached) {
        drop_guest_memory(entry);
        gpu_->destroy_resource(id, later<void>([error = attached.error()](Result<void>) {
                                   return Result<void>(std::unexpected(error));
                               }));
        return {};
    }
    if (entry.file) files_.emplace(*entry.file, id);
    resources_.emplace(id, std::move(entry));
    answer(made);
    return {};
}

Result<std::shared_ptr<Backing>> Session::make_guest_memory(Known& entry) {
    const auto size = page_align(entry.size);
    if (!size || *size == 0)
        return fail(ErrorCode::kInvalidParameter, "A blob of {} bytes is not possible.",
                    entry.size);
    entry.guest_charge = SWEDE_TRY(budget_->charge(BudgetKind::kHostBytes, *size));
    entry.guest_files = SWEDE_TRY(budget_->charge(BudgetKind::kFiles, 2));
    const auto next = checked_add(next_address_, *size);
    if (!next) return fail(ErrorCode::kOutOfMemory, "The connection has used all addresses.");
    entry.guest_file = SWEDE_TRY(create_memfd("swede-guest-memory", *size));
    UniqueFd copy = entry.guest_file.duplicate();
    if (!copy) return fail(ErrorCode::kOutOfMemory, "The process has no file descriptors left.");
    SWEDE_TRY(memory_.add_own(next_address_, *size, std::move(copy)));
    entry.guest_address = std::exchange(next_address_, *next);
    std::vector<wire::MemEntry> pieces;
    for (uint64_t done = 0; done < *size;) {
        const auto length = static_cast<uint32_t>(std::min<uint64_t>(*size - done, 1u << 30));
        pieces.push_back({entry.guest_address + done, length, 0});
        done += length;
    }
    auto backing = memory_.make_backing(pieces);
    if (!backing) drop_guest_memory(entry);
    return backing;
}

void Session::drop_guest_memory(const Known& entry) {
    if (!entry.guest_file) return;
    // It was added with this size, so it is found.
    static_cast<void>(memory_.remove(entry.guest_address, *page_align(entry.size)));
}

Result<void> Session::create_blob() {
    ByteReader reader = payload();
    const auto request = SWEDE_TRY(reader.read<CreateBlob>());
    Known entry;
    entry.blob_mem = request.blob_mem;
    entry.blob_flags = request.blob_flags;
    entry.size = request.size;
    if (reader.remaining() != 0) SWEDE_TRY(gpu_->submit(kContext, std::nullopt, reader.rest()));
    const ResourceId id = SWEDE_TRY(new_id());
    std::shared_ptr<Backing> backing;
    if (request.blob_mem == wire::kBlobMemGuest || request.blob_mem == wire::kBlobMemHost3dGuest)
        backing = SWEDE_TRY(make_guest_memory(entry));
    gpu_->create_blob(kContext, id,
                      {request.blob_mem, request.blob_flags, request.blob_id, request.size},
                      std::move(backing),
                      later<void>([this, id, entry = std::move(entry)](Result<void> made) mutable {
                          if (made) return enter(id, std::move(entry));
                          drop_guest_memory(entry);
                          return made;
                      }));
    return {};
}

Result<void> Session::create_3d() {
    const auto request = SWEDE_TRY(body<Create3d>());
    Known entry;
    entry.size = request.size;
    const ResourceId id = SWEDE_TRY(new_id());
    entry.request = {id,
                     request.target,
                     request.format,
                     request.bind,
                     request.width,
                     request.height,
                     request.depth,
                     request.array_size,
                     request.last_level,
                     request.nr_samples,
                     request.flags,
                     0};
    const wire::ResourceCreate3d to_make = entry.request;
    gpu_->create_3d(to_make,
                    later<void>([this, id, entry = std::move(entry)](Result<void> made) mutable {
                        return made ? enter(id, std::move(entry)) : made;
                    }));
    return {};
}

Result<void> Session::map() {
    const auto request = SWEDE_TRY(body<ResourceOnly>());
    const Known* const entry = SWEDE_TRY(known(request.resource));
    if (entry->guest_file) {
        Answer mapped{};
        mapped.resource = request.resource;
        mapped.size = *page_align(entry->size);
        mapped.map_info = wire::kMapCacheCached;
        mapped.access = kMayRead | kMayWrite;
        answer(mapped, entry->guest_file.get());
        return {};
    }
    if (entry->blob_mem != 0 && (entry->blob_flags & wire::kBlobFlagUseMappable) == 0)
        return fail(ErrorCode::kInvalidParameter, "Resource {} was not made to be mapped.",
                    request.resource);
    gpu_->export_blob(
        request.resource,
        later<rutabaga::SharedMemory>(
            [this, id = request.resource](Result<rutabaga::SharedMemory> memory) -> Result<void> {
                auto whole = SWEDE_TRY(std::move(memory));
                const auto mapped = SWEDE_TRY(limited_to_access(std::move(whole)));
                Answer made{};
                made.resource = id;
                made.size = mapped.size;
                made.offset = mapped.offset;
                made.access = access_of(mapped);
                if (const auto* const resource = gpu_->find(id)) made.map_info = resource->map_info;
                answer(made, mapped.fd.get());
                return {};
            }));
    return {};
}

Result<void> Session::close_resource() {
    const auto request = SWEDE_TRY(body<ResourceOnly>());
    const auto found = resources_.find(request.resource);
    if (found == resources_.end())
        return fail(ErrorCode::kInvalidResource, "There is no resource {} to close.",
                    request.resource);
    Known entry = std::move(found->second);
    resources_.erase(found);
    if (entry.file) {
        parts_.minted.orphan(*entry.file, id_, request.resource);
        files_.erase(*entry.file);
    }
    gpu_->destroy_resource(request.resource,
                           later<void>([this, entry = std::move(entry)](Result<void> destroyed) {
                               drop_guest_memory(entry);
                               if (header_.request != 0 && destroyed) answer(Answer{});
                               return destroyed;
                           }));
    return {};
}

// --- sharing ---

Result<void> Session::exported(ResourceId id, rutabaga::SharedMemory memory) {
    Known& entry = *SWEDE_TRY(known(id));
    memory = SWEDE_TRY(limited_to_access(std::move(memory)));
    if (memory.offset != 0)
        return fail(ErrorCode::kUnsupported,
                    "Resource {} lies at {:#x} in its file; a shared one begins at 0.", id,
                    memory.offset);
    const FileIdentity file = SWEDE_TRY(identity_of(memory.fd.get()));
    const auto [place, fresh] = files_.try_emplace(file, id);
    if (place->second != id)
        return fail(ErrorCode::kUnsupported, "Resource {} shares its file with resource {}.", id,
                    place->second);
    // A renderer may give the same memory in another file each time. A resource has one, or there
    // would be no end of them.
    if (entry.file && *entry.file != file) {
        parts_.minted.orphan(*entry.file, id_, id);
        files_.erase(*entry.file);
        entry.file.reset();
    }
    if (entry.blob_mem == 0) {
        if (auto added = parts_.minted.add(file, {id_, id, entry.request, memory.size, false});
            !added) {
            if (fresh) files_.erase(place);
            return added;
        }
    }
    entry.file = file;
    Answer made{};
    made.resource = id;
    made.size = memory.size;
    made.access = access_of(memory);
    answer(made, memory.fd.get());
    return {};
}

Result<void> Session::export_resource() {
    const auto request = SWEDE_TRY(body<ResourceOnly>());
    const Known* const entry = SWEDE_TRY(known(request.resource));
    if (entry->guest_file) {
        UniqueFd copy = entry->guest_file.duplicate();
        if (!copy)
            return fail(ErrorCode::kOutOfMemory, "The process has no file descriptors left.");
        return exported(request.resource, {std::move(copy), 0, *page_align(entry->size)});
    }
    gpu_->export_blob(
        request.resource,
        later<rutabaga::SharedMemory>(
            [this, id = request.resource](Result<rutabaga::SharedMemory> memory) -> Result<void> {
                return exported(id, SWEDE_TRY(std::move(memory)));
            }));
    return {};
}

Result<void> Session::import_resource() {
    const FileIdentity file = SWEDE_TRY(identity_of(message_.fds.front().get()));
    if (const auto own = files_.find(file); own != files_.end()) {
        const Known& entry = *SWEDE_TRY(known(own->second));
        Answer found{};
        found.resource = own->second;
        found.blob_mem = entry.blob_mem;
        found.size = entry.size;
        answer(found);
        return {};
    }
    const MintedFiles::Entry* const minted = parts_.minted.find(file);
    if (minted == nullptr)
        return fail(ErrorCode::kInvalidParameter,
                    "The file (inode {}) is no resource of the device.", file.inode);
    Known entry;
    entry.request = minted->request;
    entry.size = minted->size;
    entry.file = file;
    // An inode number may come back in time: the file itself is looked at as well.
    auto memory = renderer_process::accept_exported(std::move(message_.fds.front()), 0,
                                                    minted->size, minted->size);
    if (!memory) return fail(ErrorCode::kInvalidParameter, "{}", memory.error().message);
    const ResourceId id = SWEDE_TRY(new_id());
    entry.request.resource_id = id;
    const wire::ResourceCreate3d request = entry.request;
    gpu_->import_3d(request, *std::move(memory),
                    later<void>([this, id, entry = std::move(entry)](Result<void> made) mutable {
                        return made ? enter(id, std::move(entry)) : made;
                    }));
    return {};
}

// --- commands ---

Result<void> Session::execbuffer() {
    ByteReader reader = payload();
    const auto request = SWEDE_TRY(reader.read<Execbuffer>());
    if ((request.flags & ~(kExecFence | kExecRing)) != 0 ||
        request.num_resources > kMaxResourcesInSubmission)
        return fail(ErrorCode::kInvalidParameter,
                    "A submission with flags {:#x} and {} resources is not possible.",
                    request.flags, request.num_resources);
    const auto list =
        SWEDE_TRY(reader.read_bytes(size_t{request.num_resources} * sizeof(uint32_t)));
    std::vector<uint32_t> resources(request.num_resources);
    if (!list.empty()) std::memcpy(resources.data(), list.data(), list.size());
    for (const uint32_t resource : resources) SWEDE_TRY(known(resource));
    std::optional<uint8_t> ring;
    if ((request.flags & kExecRing) != 0) {
        if (request.ring >= num_rings_)
            return fail(ErrorCode::kInvalidParameter, "Ring {} is none of the context's {}.",
                        request.ring, num_rings_);
        ring = static_cast<uint8_t>(request.ring);
    }
    FenceBook::Signal signal;
    if (!message_.fds.empty()) {
        if ((request.flags & kExecFence) == 0)
            return fail(ErrorCode::kProtocol, "A file comes without a fence for it.");
        signal.file = PeerFile(std::move(message_.fds.front()));
        // To hang up is all that is done with it.
        if (const auto checked = check_unix_stream(signal.file.get()); !checked)
            return fail(ErrorCode::kProtocol, "A fence's file: {}", checked.error().message);
    }
    if (ring && (poll_rings_ >> *ring & 1) != 0) signal.events = events_.get();
    const bool fenced = (request.flags & kExecFence) != 0 || signal.events != nullptr;
    // A program that polls for an event hears of nothing else.
    const bool only_event = signal.events != nullptr && header_.request == 0;
    FenceBook::Reserved reserved;
    if (fenced) {
        auto room = fences_.reserve(resources.size(), static_cast<bool>(signal.file));
        if (!room)
            return only_event ? fail(ErrorCode::kProtocol, "{}", room.error().message)
                              : std::unexpected(std::move(room).error());
        reserved = *std::move(room);
    }
    if (reader.remaining() != 0) {
        auto submitted = gpu_->submit(kContext, ring, reader.rest());
        if (!submitted && only_event)
            refuse(0, submitted.error());
        else
            SWEDE_TRY(std::move(submitted));
    }
    if (fenced) {
        const uint64_t ticket =
            fences_.accept(std::move(reserved), {kContext, ring}, resources, std::move(signal));
        if (!gpu_->create_fence({ticket, ticket, kContext, ring})) fences_.complete(ticket);
    }
    if (header_.request != 0) answer(Answer{});
    return {};
}

Result<void> Session::wait() {
    const auto request = SWEDE_TRY(body<Wait>());
    if ((request.flags & ~kWaitNot) != 0)
        return fail(ErrorCode::kInvalidParameter, "A wait with flags {:#x} is not possible.",
                    request.flags);
    SWEDE_TRY(known(request.resource));
    if (!fences_.busy(request.resource)) {
        answer(Answer{});
        return {};
    }
    if ((request.flags & kWaitNot) == 0) return fences_.wait(request.resource, header_.request);
    Answer busy{};
    busy.error = EBUSY;
    answer(busy);
    return {};
}

Result<void> Session::transfer() {
    const auto request = SWEDE_TRY(body<Transfer>());
    SWEDE_TRY(known(request.resource));
    // What the program has mapped is the host's memory itself, so there is nothing to move.
    answer(Answer{});
    return {};
}

}  // namespace swede::local_socket
