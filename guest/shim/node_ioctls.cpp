// SPDX-License-Identifier: Apache-2.0
// Node: one function for each ioctl.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libc.h"
#include "node_rows.h"
#include "registry.h"
#include "sync_file.h"

namespace swede::shim {
namespace {

using wire::local::Request;

constexpr char kDriver[] = "virtio_gpu";
constexpr char kDescription[] = "virtio GPU";
constexpr char kDate[] = "0";

template <typename T>
T& as(void* argument) {
    return *static_cast<T*>(argument);
}

template <typename T>
T* pointer(uint64_t address) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

template <typename T>
std::span<const std::byte> bytes_at(uint64_t address, size_t count) {
    return {pointer<const std::byte>(address), count * sizeof(T)};
}

/// As drm_copy_field(): as much as there is room for, and the whole length.
void copy_text(char* to, __kernel_size_t& length, const char* text) {
    const size_t whole = std::strlen(text);
    if (to != nullptr && length != 0) std::memcpy(to, text, std::min<size_t>(length, whole));
    length = whole;
}

}  // namespace

std::span<const Node::Row> Node::rows() {
    static constexpr Row kRows[] = {
        {_IOC_NR(DRM_IOCTL_VERSION), sizeof(drm_version), &Node::version},
        {_IOC_NR(DRM_IOCTL_GET_UNIQUE), sizeof(drm_unique), &Node::get_unique},
        {_IOC_NR(DRM_IOCTL_GET_MAGIC), sizeof(drm_auth), &Node::not_permitted},
        {_IOC_NR(DRM_IOCTL_SET_VERSION), sizeof(drm_set_version), &Node::set_version},
        {_IOC_NR(DRM_IOCTL_GEM_CLOSE), sizeof(drm_gem_close), &Node::gem_close},
        {_IOC_NR(DRM_IOCTL_GEM_FLINK), sizeof(drm_gem_flink), &Node::not_permitted},
        {_IOC_NR(DRM_IOCTL_GEM_OPEN), sizeof(drm_gem_open), &Node::not_permitted},
        {_IOC_NR(DRM_IOCTL_GET_CAP), sizeof(drm_get_cap), &Node::get_cap},
        {_IOC_NR(DRM_IOCTL_SET_CLIENT_CAP), sizeof(drm_set_client_cap), &Node::set_client_cap},
        {_IOC_NR(DRM_IOCTL_SET_MASTER), 0, &Node::not_permitted},
        {_IOC_NR(DRM_IOCTL_DROP_MASTER), 0, &Node::not_permitted},
        {_IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD), sizeof(drm_prime_handle),
         &Node::prime_handle_to_fd},
        {_IOC_NR(DRM_IOCTL_PRIME_FD_TO_HANDLE), sizeof(drm_prime_handle),
         &Node::prime_fd_to_handle},
        {_IOC_NR(DRM_IOCTL_MODE_GETRESOURCES), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_MODE_GETPLANERESOURCES), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_MODE_CREATE_DUMB), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_CREATE), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_DESTROY), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_WAIT), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_RESET), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_SIGNAL), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_QUERY), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_TRANSFER), 0, &Node::not_offered},
        {_IOC_NR(DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL), 0, &Node::not_offered},
        {drm::kMap, sizeof(drm::Map), &Node::map_ioctl},
        {drm::kExecbuffer, sizeof(drm::Execbuffer), &Node::execbuffer},
        {drm::kGetparam, sizeof(drm::Getparam), &Node::getparam},
        {drm::kResourceCreate, sizeof(drm::ResourceCreate), &Node::resource_create},
        {drm::kResourceInfo, sizeof(drm::ResourceInfo), &Node::resource_info},
        {drm::kTransferFromHost, sizeof(drm::Transfer), &Node::transfer_from_host},
        {drm::kTransferToHost, sizeof(drm::Transfer), &Node::transfer_to_host},
        {drm::kWait, sizeof(drm::Wait), &Node::wait},
        {drm::kGetCaps, sizeof(drm::GetCaps), &Node::get_caps},
        {drm::kResourceCreateBlob, sizeof(drm::ResourceCreateBlob), &Node::resource_create_blob},
        {drm::kContextInit, sizeof(drm::ContextInit), &Node::context_init},
    };
    return kRows;
}

// --- DRM's own ---

int Node::version(void* argument) {
    auto& answer = as<drm_version>(argument);
    answer.version_major = 0;
    answer.version_minor = 1;
    answer.version_patchlevel = 0;
    copy_text(answer.name, answer.name_len, kDriver);
    copy_text(answer.date, answer.date_len, kDate);
    copy_text(answer.desc, answer.desc_len, kDescription);
    return 0;
}

int Node::get_unique(void* argument) {
    as<drm_unique>(argument).unique_len = 0;
    return 0;
}

int Node::set_version(void* argument) {
    as<drm_set_version>(argument) = {1, 4, 0, 1};
    return 0;
}

int Node::get_cap(void* argument) {
    auto& cap = as<drm_get_cap>(argument);
    switch (cap.capability) {
        case DRM_CAP_PRIME:
            cap.value = DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT;
            return 0;
        case DRM_CAP_TIMESTAMP_MONOTONIC:
            cap.value = 1;
            return 0;
        case DRM_CAP_DUMB_BUFFER:
        case DRM_CAP_VBLANK_HIGH_CRTC:
        case DRM_CAP_DUMB_PREFERRED_DEPTH:
        case DRM_CAP_DUMB_PREFER_SHADOW:
        case DRM_CAP_ASYNC_PAGE_FLIP:
        case DRM_CAP_ADDFB2_MODIFIERS:
        case DRM_CAP_PAGE_FLIP_TARGET:
        case DRM_CAP_CRTC_IN_VBLANK_EVENT:
        case DRM_CAP_SYNCOBJ:
        case DRM_CAP_SYNCOBJ_TIMELINE:
            cap.value = 0;
            return 0;
        case DRM_CAP_CURSOR_WIDTH:
        case DRM_CAP_CURSOR_HEIGHT:
            cap.value = 64;
            return 0;
        default:
            return -EINVAL;
    }
}

int Node::set_client_cap(void*) {
    return -EOPNOTSUPP;
}
int Node::not_offered(void*) {
    return -EOPNOTSUPP;
}
int Node::not_permitted(void*) {
    return -EACCES;
}

int Node::gem_close(void* argument) {
    const uint32_t handle = as<drm_gem_close>(argument).handle;
    std::unique_ptr<Ring> ring;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = buffer(handle);
        if (!found) return -EINVAL;
        if ((*found)->map_offset != 0) mapped_.erase((*found)->map_offset);
        ring = std::move((*found)->ring);
        buffers_.erase(handle);
    }
    const auto device = connection();
    if (!device) return 0;
    const wire::local::ResourceOnly body{handle, 0};
    const std::span<const std::byte> part = bytes_of(body);
    // With a lost context it is closed already.
    static_cast<void>((*device)->post(Request::kClose, std::span(&part, 1)));
    return 0;
}

int Node::prime_handle_to_fd(void* argument) {
    auto& request = as<drm_prime_handle>(argument);
    if ((request.flags & ~static_cast<uint32_t>(DRM_CLOEXEC | DRM_RDWR)) != 0) return -EINVAL;
    if (const auto known = size_of(request.handle); !known) return -known.error();
    const auto device = connection();
    if (!device) return -device.error();
    const wire::local::ResourceOnly body{request.handle, 0};
    const std::span<const std::byte> part = bytes_of(body);
    auto reply = (*device)->call(Request::kExport, std::span(&part, 1));
    if (!reply) return -reply.error();
    if (!reply->fd) return -EIO;
    if ((request.flags & DRM_CLOEXEC) == 0) ::fcntl(reply->fd.get(), F_SETFD, 0);
    request.fd = reply->fd.release();
    return 0;
}

int Node::prime_fd_to_handle(void* argument) {
    auto& request = as<drm_prime_handle>(argument);
    if (request.fd < 0 || ::fcntl(request.fd, F_GETFD) < 0) return -EBADF;
    const auto device = connection();
    if (!device) return -device.error();
    const auto reply = (*device)->call(Request::kImport, {}, request.fd);
    if (!reply) return -reply.error();
    const auto& answer = reply->answer;
    request.handle = answer.resource;
    if (!size_of(answer.resource)) enter(answer.resource, answer.size, answer.blob_mem, UINT64_MAX);
    return 0;
}

// --- virtio-gpu's ---

int Node::getparam(void* argument) {
    const auto& request = as<drm::Getparam>(argument);
    const auto device = connection();
    if (!device) return -device.error();
    const auto value = (*device)->param(request.param);
    if (!value) return -value.error();
    if (request.value == 0) return -EFAULT;
    *pointer<uint32_t>(request.value) = *value;  // Linux writes an int, however long the caller's
    return 0;
}

int Node::get_caps(void* argument) {
    const auto& request = as<drm::GetCaps>(argument);
    const auto device = connection();
    if (!device) return -device.error();
    for (const Capset& capset : (*device)->capsets()) {
        if (capset.id != request.capset || request.version > capset.version) continue;
        const size_t size = std::min<size_t>(request.size, capset.data.size());
        if (request.address == 0) return -EFAULT;
        std::memcpy(pointer<void>(request.address), capset.data.data(), size);
        return 0;
    }
    return -EINVAL;
}

int Node::context_init(void* argument) {
    const auto& request = as<drm::ContextInit>(argument);
    constexpr uint32_t kMostParams = 4;
    if (request.num_params > kMostParams || (request.num_params != 0 && request.params == 0))
        return -EINVAL;
    wire::local::ContextInit body{};
    uint32_t seen = 0;
    for (uint32_t i = 0; i < request.num_params; ++i) {
        drm::ContextParam param;
        std::memcpy(&param, pointer<drm::ContextParam>(request.params) + i, sizeof(param));
        if (param.param == 0 || param.param > drm::kContextName) return -EINVAL;
        if ((seen & (1u << param.param)) != 0) return -EINVAL;
        seen |= 1u << param.param;
        if (param.param == drm::kContextCapset) {
            if (param.value > UINT32_MAX) return -EINVAL;
            body.capset = static_cast<uint32_t>(param.value);
        } else if (param.param == drm::kContextRings) {
            if (param.value > wire::local::kMaxRings) return -EINVAL;
            body.num_rings = static_cast<uint32_t>(param.value);
        } else if (param.param == drm::kContextPollRings) {
            body.poll_rings = param.value;
        } else if (param.value != 0) {
            body.name_size =
                static_cast<uint32_t>(::strnlen(pointer<char>(param.value), sizeof(body.name)));
            std::memcpy(body.name, pointer<char>(param.value), body.name_size);
        }
    }
    // The device writes the events itself: the program's file is the other end of this one.
    const int events = body.poll_rings != 0 ? other_end() : -1;
    if (body.poll_rings != 0 && events < 0) {
        say("A process that was forked cannot poll its parent's file of the GPU for fences.");
        return -EOPNOTSUPP;
    }
    const auto device = connection();
    if (!device) return -device.error();
    registry::watch();
    const std::span<const std::byte> part = bytes_of(body);
    const auto reply = (*device)->call(Request::kContextInit, std::span(&part, 1), events);
    if (!reply) return -reply.error();
    capset_ = body.capset;
    poll_rings_ = body.poll_rings;
    return 0;
}

int Node::resource_create(void* argument) {
    auto& request = as<drm::ResourceCreate>(argument);
    const auto device = connection();
    if (!device) return -device.error();
    const wire::local::Create3d body{request.target,     request.format,     request.bind,
                                     request.width,      request.height,     request.depth,
                                     request.array_size, request.last_level, request.nr_samples,
                                     request.flags,      request.size,       request.stride};
    const std::span<const std::byte> part = bytes_of(body);
    const auto reply = (*device)->call(Request::kCreate3d, std::span(&part, 1));
    if (!reply) return -reply.error();
    enter(reply->answer.resource, std::max<uint64_t>(request.size, 1), 0, UINT64_MAX);
    request.bo_handle = request.res_handle = reply->answer.resource;
    return 0;
}

int Node::resource_create_blob(void* argument) {
    auto& request = as<drm::ResourceCreateBlob>(argument);
    if (request.command_size > wire::local::kMaxCommands ||
        (request.command_size != 0 && request.command == 0) || request.size == 0)
        return -EINVAL;
    const auto device = connection();
    if (!device) return -device.error();
    const wire::local::CreateBlob body{request.blob_mem, request.blob_flags, request.blob_id,
                                       request.size};
    const std::span<const std::byte> parts[] = {
        bytes_of(body), bytes_at<std::byte>(request.command, request.command_size)};
    const auto reply = (*device)->call(Request::kCreateBlob, parts);
    if (!reply) return -reply.error();
    enter(reply->answer.resource, request.size, request.blob_mem, request.blob_id);
    request.bo_handle = request.res_handle = reply->answer.resource;
    return 0;
}

int Node::resource_info(void* argument) {
    auto& request = as<drm::ResourceInfo>(argument);
    const std::scoped_lock lock(mutex_);
    const auto found = buffer(request.bo_handle);
    if (!found) return -found.error();
    request.res_handle = request.bo_handle;
    request.size = static_cast<uint32_t>((*found)->size);
    request.blob_mem = (*found)->blob_mem;
    return 0;
}

int Node::execbuffer(void* argument) {
    auto& request = as<drm::Execbuffer>(argument);
    if ((request.flags & ~(drm::kExecFenceIn | drm::kExecFenceOut | drm::kExecRing)) != 0 ||
        request.size > wire::local::kMaxCommands ||
        request.num_bo_handles > wire::local::kMaxResourcesInSubmission ||
        (request.size != 0 && request.command == 0) ||
        (request.num_bo_handles != 0 && request.bo_handles == 0))
        return -EINVAL;
    if (request.num_in_syncobjs != 0 || request.num_out_syncobjs != 0) return -EOPNOTSUPP;
    if ((request.flags & drm::kExecFenceIn) != 0) {
        // Linux's driver waits here too.
        if (const int waited = sync_file::wait(request.fence_fd); waited != 0) return waited;
    }
    const auto device = connection();
    if (!device) return -device.error();

    wire::local::Execbuffer body{};
    const bool out = (request.flags & drm::kExecFenceOut) != 0;
    if ((request.flags & drm::kExecRing) != 0) {
        body.flags |= wire::local::kExecRing;
        body.ring = request.ring;
    }
    // Linux makes a fence for these; a bare doorbell goes without, and without an answer. So does
    // what is told by an event of the file: the device makes its fence in any case.
    const bool polled = (body.flags & wire::local::kExecRing) != 0 &&
                        body.ring < wire::local::kMaxRings && (poll_rings_ >> body.ring & 1) != 0;
    const bool fenced = out || request.num_bo_handles != 0 || (body.flags != 0 && !polled);
    if (fenced) body.flags |= wire::local::kExecFence;
    body.num_resources = request.num_bo_handles;
    sync_file::Pair fence;
    if (out) {
        auto made = sync_file::create();
        if (!made) return -made.error();
        fence = *std::move(made);
    }
    const std::span<const std::byte> parts[] = {
        bytes_of(body), bytes_at<uint32_t>(request.bo_handles, request.num_bo_handles),
        bytes_at<std::byte>(request.command, request.size)};
    if (fenced) {
        const auto reply = (*device)->call(Request::kExecbuffer, parts, fence.signal.get());
        if (!reply) return -reply.error();
    } else if (const auto sent = (*device)->post(Request::kExecbuffer, parts); !sent) {
        return -sent.error();
    }
    if (out) request.fence_fd = fence.fence.release();
    return 0;
}

int Node::wait(void* argument) {
    const auto& request = as<drm::Wait>(argument);
    const auto device = connection();
    if (!device) return -device.error();
    if (const auto known = size_of(request.handle); !known) return -known.error();
    const wire::local::Wait body{request.handle,
                                 (request.flags & drm::kWaitNot) != 0 ? wire::local::kWaitNot : 0};
    const std::span<const std::byte> part = bytes_of(body);
    const auto reply = (*device)->call(Request::kWait, std::span(&part, 1));
    return reply ? 0 : -reply.error();
}

int Node::transfer(Request type, void* argument) {
    const auto& request = as<drm::Transfer>(argument);
    const auto device = connection();
    if (!device) return -device.error();
    if (const auto known = size_of(request.bo_handle); !known) return -known.error();
    const drm::Box& box = request.box;
    const wire::local::Transfer body{
        request.bo_handle, request.level,        box.x,         box.y, box.z, box.w, box.h, box.d,
        request.stride,    request.layer_stride, request.offset};
    const std::span<const std::byte> part = bytes_of(body);
    const auto reply = (*device)->call(type, std::span(&part, 1));
    return reply ? 0 : -reply.error();
}

int Node::transfer_to_host(void* argument) {
    return transfer(Request::kTransferToHost, argument);
}
int Node::transfer_from_host(void* argument) {
    return transfer(Request::kTransferFromHost, argument);
}

}  // namespace swede::shim
