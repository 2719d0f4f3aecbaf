// SPDX-License-Identifier: Apache-2.0
// The functions of rutabaga_gfx_ffi.h: they look pointers over and go to the instance.
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <cerrno>
#include <climits>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "transports/c_abi/caller_memory.h"
#include "transports/c_abi/capset_names.h"
#include "transports/c_abi/instance.h"
#include "transports/c_abi/instance_table.h"
#include "transports/c_abi/qemu_quirks.h"
#include "transports/c_abi/snapshot.h"

#define SWEDE_EXPORT extern "C" __attribute__((visibility("default"), used))

/// Two functions under one name, for two ages of the programs that call it: see exports.map.
#define SWEDE_VERSION(function, name) __asm__(".symver " #function "," name)

SWEDE_EXPORT int32_t rutabaga_init_0_1_2(const rutabaga_builder* builder, rutabaga** ptr);
SWEDE_EXPORT int32_t rutabaga_init_0_1_6(const rutabaga_builder* builder, rutabaga** ptr);
SWEDE_EXPORT int32_t rutabaga_submit_command_0_1_2(rutabaga* ptr, rutabaga_command* cmd);
SWEDE_EXPORT int32_t rutabaga_submit_command_0_1_6(rutabaga* ptr, rutabaga_command* cmd);
SWEDE_VERSION(rutabaga_init_0_1_2, "rutabaga_init@RUTABAGA_0.1.2");
SWEDE_VERSION(rutabaga_init_0_1_6, "rutabaga_init@@RUTABAGA_0.1.6");
SWEDE_VERSION(rutabaga_submit_command_0_1_2, "rutabaga_submit_command@RUTABAGA_0.1.2");
SWEDE_VERSION(rutabaga_submit_command_0_1_6, "rutabaga_submit_command@@RUTABAGA_0.1.6");

namespace swede::c_abi {
namespace {

constexpr size_t kMaxChannels = 64;
constexpr size_t kMaxText = 4096;  // bytes, of a path or a list of features

/// The result of `function`; what the C++ library throws ends here.
template <typename Function>
int32_t guarded(Function function) noexcept {
    try {
        return function();
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    } catch (...) {
        return -EIO;
    }
}

/// Runs `function` (Result<void>(Instance&)) as a call of the instance.
template <typename Function>
int32_t call(::rutabaga* handle, std::string_view name, Function function) noexcept {
    return guarded([&] {
        const auto instance = InstanceTable::of_process().find(handle);
        return instance ? instance->call(name, function) : -EINVAL;
    });
}

Result<void> not_null(const void* pointer, std::string_view name) {
    if (pointer != nullptr) return {};
    return fail(ErrorCode::kInvalidParameter, "'{}' is null.", name);
}

/// The descriptor, which is ours from now on, whatever is said of it. A handle that is all zero is
/// none: it must not cost the VMM its standard input.
GivenHandle take_handle(const rutabaga_handle* handle) {
    GivenHandle given;
    if (handle == nullptr) return given;
    given.type = handle->handle_type;
    if (handle->os_handle == 0 && given.type == 0) return given;
    if (handle->os_handle >= 0 && handle->os_handle <= INT_MAX)
        given.fd.reset(static_cast<int>(handle->os_handle));
    return given;
}

Result<std::string> text_of(const char* text, std::string_view name) {
    SWEDE_TRY(not_null(text, name));
    const size_t size = ::strnlen(text, kMaxText);
    if (size == kMaxText)
        return fail(ErrorCode::kInvalidParameter, "'{}' is longer than {} bytes.", name, kMaxText);
    return std::string(text, size);
}

Result<void> read_channels(const rutabaga_channels& list, std::vector<Channel>& channels) {
    if (list.num_channels == 0) return {};
    SWEDE_TRY(not_null(list.channels, "channels"));
    if (list.num_channels > kMaxChannels)
        return fail(ErrorCode::kInvalidParameter, "{} channels are more than {}.",
                    list.num_channels, kMaxChannels);
    for (const rutabaga_channel& channel : std::span(list.channels, list.num_channels))
        channels.push_back(
            {SWEDE_TRY(text_of(channel.channel_name, "channel_name")), channel.channel_type});
    return {};
}

/// What stands in the first 48 bytes of the builder; and behind them, where it has more.
Result<Options> read_builder(const rutabaga_builder& builder, bool has_features) {
    Options options;
    if (builder.wsi != RUTABAGA_WSI_SURFACELESS)
        return fail(ErrorCode::kInvalidParameter, "Window system {} is not known.", builder.wsi);
    options.capset_mask = builder.capset_mask;
    if (builder.channels != nullptr) SWEDE_TRY(read_channels(*builder.channels, options.channels));
    if (has_features && builder.renderer_features != nullptr)
        options.renderer_features =
            SWEDE_TRY(text_of(builder.renderer_features, "renderer_features"));
    return options;
}

int32_t init(const rutabaga_builder* builder, ::rutabaga** ptr, bool has_features) noexcept {
    return guarded([&]() -> int32_t {
        if (ptr == nullptr) return -EINVAL;
        *ptr = nullptr;
        if (builder == nullptr || builder->fence_cb == nullptr) return -EINVAL;
        const Callbacks callbacks{builder->user_data, builder->fence_cb, builder->debug_cb};
        auto options = read_builder(*builder, has_features);
        if (!options) {  // there is no instance that could tell
            const auto queue = CallbackQueue::create(callbacks);
            queue->push_message(RUTABAGA_DEBUG_ERROR, "rutabaga_init: " + options.error().message);
            queue->close();
            return -errno_of(options.error().code);
        }
        options->callbacks = callbacks;
        auto instance = Instance::create(*std::move(options));
        if (!instance) return -errno_of(instance.error().code);
        *ptr = InstanceTable::of_process().add(*std::move(instance));
        return 0;
    });
}

int32_t submit(::rutabaga* ptr, const rutabaga_command* cmd, bool has_fences) noexcept {
    return call(ptr, "rutabaga_submit_command", [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(cmd, "cmd"));
        if (cmd->cmd_size != 0) SWEDE_TRY(not_null(cmd->cmd, "cmd->cmd"));
        // No renderer makes the shareable fences that could be waited for here.
        if (has_fences && cmd->num_in_fences != 0)
            return fail(ErrorCode::kUnsupported, "Commands that wait for {} fences are not taken.",
                        cmd->num_in_fences);
        return instance.submit(cmd->ctx_id, std::span(cmd->cmd, cmd->cmd_size));
    });
}

}  // namespace
}  // namespace swede::c_abi

using swede::Result;
using swede::c_abi::call;
using swede::c_abi::Instance;
using swede::c_abi::not_null;

int32_t rutabaga_init_0_1_2(const rutabaga_builder* builder, rutabaga** ptr) {
    return swede::c_abi::init(builder, ptr, false);
}

int32_t rutabaga_init_0_1_6(const rutabaga_builder* builder, rutabaga** ptr) {
    return swede::c_abi::init(builder, ptr, true);
}

int32_t rutabaga_submit_command_0_1_2(rutabaga* ptr, rutabaga_command* cmd) {
    return swede::c_abi::submit(ptr, cmd, false);
}

int32_t rutabaga_submit_command_0_1_6(rutabaga* ptr, rutabaga_command* cmd) {
    return swede::c_abi::submit(ptr, cmd, true);
}

SWEDE_EXPORT int32_t rutabaga_calculate_capset_mask(const char* capset_names,
                                                    uint64_t* capset_mask) {
    if (capset_names == nullptr || capset_mask == nullptr) return -EINVAL;
    *capset_mask = swede::c_abi::capset_mask_of(capset_names);
    return 0;
}

SWEDE_EXPORT int32_t rutabaga_finish(rutabaga** ptr) {
    return swede::c_abi::guarded([&] {
        if (ptr == nullptr) return -EINVAL;
        const auto instance = swede::c_abi::InstanceTable::of_process().remove(*ptr);
        if (!instance) return -EINVAL;
        *ptr = nullptr;  // before the last callbacks
        instance->finish();
        return 0;
    });
}

SWEDE_EXPORT int32_t rutabaga_get_num_capsets(rutabaga* ptr, uint32_t* num_capsets) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(num_capsets, "num_capsets"));
        *num_capsets = instance.num_capsets();
        return {};
    });
}

SWEDE_EXPORT int32_t rutabaga_get_capset_info(rutabaga* ptr, uint32_t capset_index,
                                              uint32_t* capset_id, uint32_t* capset_version,
                                              uint32_t* capset_size) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(capset_id, "capset_id"));
        SWEDE_TRY(not_null(capset_version, "capset_version"));
        SWEDE_TRY(not_null(capset_size, "capset_size"));
        const auto* const capset = SWEDE_TRY(instance.capset_at(capset_index));
        *capset_id = capset->id;
        *capset_version = capset->version;
        *capset_size = static_cast<uint32_t>(capset->data.size());
        return {};
    });
}

SWEDE_EXPORT int32_t rutabaga_get_capset(rutabaga* ptr, uint32_t capset_id, uint32_t version,
                                         uint8_t* capset, uint32_t capset_size) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        if (capset_size != 0) SWEDE_TRY(not_null(capset, "capset"));
        return instance.get_capset(capset_id, version, std::span(capset, capset_size));
    });
}

SWEDE_EXPORT int32_t rutabaga_context_create(rutabaga* ptr, uint32_t ctx_id, uint32_t context_init,
                                             const char* context_name, uint32_t context_name_len) {
    return call(ptr, __func__, [=](Instance& instance) {
        return instance.create_context(
            ctx_id, context_init, swede::c_abi::qemu::context_name(context_name, context_name_len));
    });
}

SWEDE_EXPORT int32_t rutabaga_context_destroy(rutabaga* ptr, uint32_t ctx_id) {
    return call(ptr, __func__,
                [=](Instance& instance) { return instance.destroy_context(ctx_id); });
}

SWEDE_EXPORT int32_t rutabaga_context_attach_resource(rutabaga* ptr, uint32_t ctx_id,
                                                      uint32_t resource_id) {
    return call(ptr, __func__,
                [=](Instance& instance) { return instance.attach_resource(ctx_id, resource_id); });
}

SWEDE_EXPORT int32_t rutabaga_context_detach_resource(rutabaga* ptr, uint32_t ctx_id,
                                                      uint32_t resource_id) {
    return call(ptr, __func__,
                [=](Instance& instance) { return instance.detach_resource(ctx_id, resource_id); });
}

SWEDE_EXPORT int32_t rutabaga_resource_create_3d(rutabaga* ptr, uint32_t resource_id,
                                                 const rutabaga_create_3d* create_3d) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(create_3d, "create_3d"));
        return instance.create_3d(resource_id, *create_3d);
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_attach_backing(rutabaga* ptr, uint32_t resource_id,
                                                      const rutabaga_iovecs* iovecs) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        return instance.attach_backing(resource_id, SWEDE_TRY(swede::c_abi::entries_of(iovecs)));
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_detach_backing(rutabaga* ptr, uint32_t resource_id) {
    return call(ptr, __func__,
                [=](Instance& instance) { return instance.detach_backing(resource_id); });
}

SWEDE_EXPORT int32_t rutabaga_resource_transfer_read(rutabaga* ptr, uint32_t ctx_id,
                                                     uint32_t resource_id,
                                                     const rutabaga_transfer* transfer,
                                                     const iovec* iovec) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(transfer, "transfer"));
        return instance.transfer_read(ctx_id, resource_id, *transfer, iovec);
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_transfer_write(rutabaga* ptr, uint32_t ctx_id,
                                                      uint32_t resource_id,
                                                      const rutabaga_transfer* transfer) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(transfer, "transfer"));
        return instance.transfer_write(ctx_id, resource_id, *transfer);
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_create_blob(rutabaga* ptr, uint32_t ctx_id,
                                                   uint32_t resource_id,
                                                   const rutabaga_create_blob* create_blob,
                                                   const rutabaga_iovecs* iovecs,
                                                   const rutabaga_handle* handle) {
    auto given = swede::c_abi::take_handle(handle);
    return call(ptr, __func__, [&](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(create_blob, "rutabaga_create_blob"));
        return instance.create_blob(ctx_id, resource_id, *create_blob,
                                    SWEDE_TRY(swede::c_abi::entries_of(iovecs)), std::move(given));
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_unref(rutabaga* ptr, uint32_t resource_id) {
    return call(ptr, __func__, [=](Instance& instance) { return instance.unref(resource_id); });
}

SWEDE_EXPORT int32_t rutabaga_resource_export_blob(rutabaga* ptr, uint32_t resource_id,
                                                   rutabaga_handle* handle) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(handle, "handle"));
        *handle = SWEDE_TRY(instance.export_blob(resource_id));
        return {};
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_map(rutabaga* ptr, uint32_t resource_id,
                                           rutabaga_mapping* mapping) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(mapping, "mapping"));
        *mapping = SWEDE_TRY(instance.map(resource_id));
        return {};
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_unmap(rutabaga* ptr, uint32_t resource_id) {
    return call(ptr, __func__, [=](Instance& instance) { return instance.unmap(resource_id); });
}

SWEDE_EXPORT int32_t rutabaga_resource_map_info(rutabaga* ptr, uint32_t resource_id,
                                                uint32_t* map_info) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(map_info, "map_info"));
        *map_info = SWEDE_TRY(instance.map_info(resource_id));
        return {};
    });
}

SWEDE_EXPORT int32_t rutabaga_create_fence(rutabaga* ptr, const rutabaga_fence* fence) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(fence, "fence"));
        return instance.create_fence(*fence);
    });
}

SWEDE_EXPORT int32_t rutabaga_snapshot(rutabaga* ptr, const char* dir) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(dir, "dir"));
        return swede::c_abi::save_snapshot(instance, dir);
    });
}

SWEDE_EXPORT int32_t rutabaga_restore(rutabaga* ptr, const char* dir) {
    return call(ptr, __func__, [=](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(dir, "dir"));
        return swede::c_abi::load_snapshot(instance, dir);
    });
}

SWEDE_EXPORT int32_t rutabaga_resource_import(rutabaga* ptr, uint32_t resource_id,
                                              const rutabaga_handle* import_handle,
                                              const rutabaga_import_data* import_data) {
    auto given = swede::c_abi::take_handle(import_handle);
    return call(ptr, __func__, [&](Instance& instance) -> Result<void> {
        SWEDE_TRY(not_null(import_handle, "import_handle"));
        SWEDE_TRY(not_null(import_data, "import_data"));
        return instance.import_resource(resource_id, std::move(given), *import_data);
    });
}
