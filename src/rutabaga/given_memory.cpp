// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/given_memory.h"

#include <cerrno>
#include <utility>

namespace swede::rutabaga {
namespace {

std::unexpected<Error> refused() {
    return fail(ErrorCode::kUnsupported, "Memory that the VMM gave executes nothing.");
}

}  // namespace

void GivenMemory::add(ResourceId resource, SharedMemory memory) {
    memory_.insert_or_assign(resource, std::move(memory));
}

void GivenMemory::export_blob(ResourceId resource, Completion<SharedMemory> done) {
    const auto found = memory_.find(resource);
    if (found == memory_.end())
        return done(fail(ErrorCode::kInvalidResource, "Resource {} has no memory.", resource));
    const SharedMemory& memory = found->second;
    UniqueFd fd = memory.fd.duplicate();
    if (!fd) return done(fail_errno("Cannot share the memory of a resource", errno));
    done(SharedMemory{std::move(fd), memory.offset, memory.size, memory.stride, memory.access});
}

void GivenMemory::destroy_resource(ResourceId resource, Completion<> done) {
    memory_.erase(resource);
    done({});
}

void GivenMemory::reset(Completion<> done) {
    clear();
    done({});
}

void GivenMemory::create_context(ContextId, const ContextInfo&, Completion<> done) {
    done(refused());
}

void GivenMemory::destroy_context(ContextId, Completion<> done) {
    done(refused());
}

void GivenMemory::create_blob(ContextId, ResourceId, const BlobRequest&, std::shared_ptr<Backing>,
                              Completion<BlobInfo> done) {
    done(refused());
}

void GivenMemory::create_3d(ResourceId, const wire::ResourceCreate3d&, Completion<> done) {
    done(refused());
}

void GivenMemory::place_blob(ResourceId, const WindowRange&, Completion<> done) {
    done(refused());
}

void GivenMemory::displace_blob(ResourceId, Completion<> done) {
    done(refused());
}

void GivenMemory::transfer_to_host(ContextId, ResourceId, const wire::TransferHost3d&,
                                   Completion<> done) {
    done(refused());
}

void GivenMemory::transfer_from_host(ContextId, ResourceId, const wire::TransferHost3d&,
                                     Completion<> done) {
    done(refused());
}

Result<void> GivenMemory::submit(ContextId, std::optional<uint8_t>, std::span<const std::byte>) {
    return refused();
}

}  // namespace swede::rutabaga
