// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/command_table.h"

#include <algorithm>
#include <array>

#include "virtio_gpu/commands.h"

namespace swede::virtio_gpu {
namespace {

using namespace wire;
using namespace commands;

#define SWEDE_FIELD(type, field) static_cast<uint8_t>(offsetof(type, field))

constexpr auto kTable = std::to_array<CommandInfo>({
    {.type = kCmdGetDisplayInfo,
     .name = "GET_DISPLAY_INFO",
     .response_size = sizeof(RespDisplayInfo),
     .handler = get_display_info},
    {.type = kCmdResourceCreate2d,
     .name = "RESOURCE_CREATE_2D",
     .request_size = sizeof(ResourceCreate2d),
     .handler = resource_create_2d,
     .resource = SWEDE_FIELD(ResourceCreate2d, resource_id)},
    {.type = kCmdResourceUnref,
     .name = "RESOURCE_UNREF",
     .request_size = sizeof(ResourceUnref),
     .handler = resource_unref,
     .resource = SWEDE_FIELD(ResourceUnref, resource_id),
     .may_wait = true},
    {.type = kCmdSetScanout,
     .name = "SET_SCANOUT",
     .request_size = sizeof(SetScanout),
     .handler = set_scanout,
     .resource = SWEDE_FIELD(SetScanout, resource_id),
     .scanout = SWEDE_FIELD(SetScanout, scanout_id),
     .may_wait = true},
    {.type = kCmdResourceFlush,
     .name = "RESOURCE_FLUSH",
     .request_size = sizeof(ResourceFlush),
     .handler = resource_flush,
     .resource = SWEDE_FIELD(ResourceFlush, resource_id)},
    {.type = kCmdTransferToHost2d,
     .name = "TRANSFER_TO_HOST_2D",
     .request_size = sizeof(TransferToHost2d),
     .handler = transfer_to_host_2d,
     .resource = SWEDE_FIELD(TransferToHost2d, resource_id)},
    {.type = kCmdResourceAttachBacking,
     .name = "RESOURCE_ATTACH_BACKING",
     .request_size = sizeof(ResourceAttachBacking),
     .handler = resource_attach_backing,
     .resource = SWEDE_FIELD(ResourceAttachBacking, resource_id)},
    {.type = kCmdResourceDetachBacking,
     .name = "RESOURCE_DETACH_BACKING",
     .request_size = sizeof(ResourceDetachBacking),
     .handler = resource_detach_backing,
     .resource = SWEDE_FIELD(ResourceDetachBacking, resource_id),
     .may_wait = true},
    {.type = kCmdGetCapsetInfo,
     .name = "GET_CAPSET_INFO",
     .request_size = sizeof(GetCapsetInfo),
     .response_size = sizeof(RespCapsetInfo),
     .handler = get_capset_info},
    {.type = kCmdGetCapset,
     .name = "GET_CAPSET",
     .request_size = sizeof(GetCapset),
     .handler = get_capset},
    {.type = kCmdGetEdid,
     .name = "GET_EDID",
     .feature = kFeatureEdid,
     .request_size = sizeof(GetEdid),
     .response_size = sizeof(RespEdid),
     .handler = get_edid},
    {.type = kCmdResourceAssignUuid,
     .name = "RESOURCE_ASSIGN_UUID",
     .feature = kFeatureResourceUuid,
     .request_size = sizeof(ResourceAssignUuid),
     .response_size = sizeof(RespResourceUuid),
     .handler = resource_assign_uuid,
     .resource = SWEDE_FIELD(ResourceAssignUuid, resource_id)},
    {.type = kCmdResourceCreateBlob,
     .name = "RESOURCE_CREATE_BLOB",
     .feature = kFeatureResourceBlob,
     .request_size = sizeof(ResourceCreateBlob),
     .handler = resource_create_blob,
     .resource = SWEDE_FIELD(ResourceCreateBlob, resource_id),
     .context = true,
     .may_wait = true},
    {.type = kCmdSetScanoutBlob,
     .name = "SET_SCANOUT_BLOB",
     .feature = kFeatureResourceBlob,
     .request_size = sizeof(SetScanoutBlob),
     .handler = set_scanout_blob,
     .resource = SWEDE_FIELD(SetScanoutBlob, resource_id),
     .scanout = SWEDE_FIELD(SetScanoutBlob, scanout_id),
     .may_wait = true},

    {.type = kCmdCtxCreate,
     .name = "CTX_CREATE",
     .feature = kFeatureVirgl,
     .request_size = sizeof(CtxCreate),
     .handler = ctx_create,
     .context = true,
     .may_wait = true},
    {.type = kCmdCtxDestroy,
     .name = "CTX_DESTROY",
     .feature = kFeatureVirgl,
     .handler = ctx_destroy,
     .context = true,
     .may_wait = true,
     .ends_context = true},
    {.type = kCmdCtxAttachResource,
     .name = "CTX_ATTACH_RESOURCE",
     .feature = kFeatureVirgl,
     .request_size = sizeof(CtxResource),
     .handler = ctx_attach_resource,
     .resource = SWEDE_FIELD(CtxResource, resource_id),
     .context = true,
     .may_wait = true},
    {.type = kCmdCtxDetachResource,
     .name = "CTX_DETACH_RESOURCE",
     .feature = kFeatureVirgl,
     .request_size = sizeof(CtxResource),
     .handler = ctx_detach_resource,
     .resource = SWEDE_FIELD(CtxResource, resource_id),
     .context = true},
    {.type = kCmdResourceCreate3d,
     .name = "RESOURCE_CREATE_3D",
     .feature = kFeatureVirgl,
     .request_size = sizeof(ResourceCreate3d),
     .handler = resource_create_3d,
     .resource = SWEDE_FIELD(ResourceCreate3d, resource_id),
     .may_wait = true},
    {.type = kCmdTransferToHost3d,
     .name = "TRANSFER_TO_HOST_3D",
     .feature = kFeatureVirgl,
     .request_size = sizeof(TransferHost3d),
     .handler = transfer_to_host_3d,
     .resource = SWEDE_FIELD(TransferHost3d, resource_id),
     .context = true,
     .may_wait = true},
    {.type = kCmdTransferFromHost3d,
     .name = "TRANSFER_FROM_HOST_3D",
     .feature = kFeatureVirgl,
     .request_size = sizeof(TransferHost3d),
     .handler = transfer_from_host_3d,
     .resource = SWEDE_FIELD(TransferHost3d, resource_id),
     .context = true,
     .may_wait = true},
    {.type = kCmdSubmit3d,
     .name = "SUBMIT_3D",
     .feature = kFeatureVirgl,
     .request_size = sizeof(CmdSubmit),
     .handler = submit_3d,
     .context = true,
     .fence_of_renderer = true},
    {.type = kCmdResourceMapBlob,
     .name = "RESOURCE_MAP_BLOB",
     .feature = kFeatureResourceBlob,
     .request_size = sizeof(ResourceMapBlob),
     .response_size = sizeof(RespMapInfo),
     .handler = resource_map_blob,
     .resource = SWEDE_FIELD(ResourceMapBlob, resource_id),
     .may_wait = true},
    {.type = kCmdResourceUnmapBlob,
     .name = "RESOURCE_UNMAP_BLOB",
     .feature = kFeatureResourceBlob,
     .request_size = sizeof(ResourceUnmapBlob),
     .handler = resource_unmap_blob,
     .resource = SWEDE_FIELD(ResourceUnmapBlob, resource_id),
     .may_wait = true},

    // The cursor queue's commands may come without room for a response (5.7.6.7): Linux gives none.
    {.type = kCmdUpdateCursor,
     .name = "UPDATE_CURSOR",
     .queue = kCursorQueue,
     .request_size = sizeof(UpdateCursor),
     .response_size = 0,
     .handler = update_cursor,
     .resource = SWEDE_FIELD(UpdateCursor, resource_id),
     .scanout = SWEDE_FIELD(UpdateCursor, position.scanout_id),
     .may_wait = true},
    {.type = kCmdMoveCursor,
     .name = "MOVE_CURSOR",
     .queue = kCursorQueue,
     .request_size = sizeof(UpdateCursor),
     .response_size = 0,
     .handler = move_cursor,
     .scanout = SWEDE_FIELD(UpdateCursor, position.scanout_id)},
});

#undef SWEDE_FIELD

static_assert(std::ranges::is_sorted(kTable, {}, &CommandInfo::type));
static_assert(std::ranges::all_of(kTable, [](const CommandInfo& info) {
    return info.request_size <= kMaxRequestSize && info.handler != nullptr;
}));

}  // namespace

std::span<const CommandInfo> command_table() {
    return kTable;
}

const CommandInfo* find_command(uint32_t type) {
    const auto found = std::ranges::lower_bound(kTable, type, {}, &CommandInfo::type);
    return found != kTable.end() && found->type == type ? &*found : nullptr;
}

uint64_t features_with_handlers() {
    uint64_t features = 0;
    for (const CommandInfo& info : kTable) features |= info.feature;
    return features;
}

}  // namespace swede::virtio_gpu
