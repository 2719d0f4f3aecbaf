// SPDX-License-Identifier: Apache-2.0
// Scanouts, their descriptions, and cursors: 5.7.6.8 and 5.7.6.10.
#include <algorithm>
#include <optional>

#include "base/checked.h"
#include "virtio_gpu/commands.h"
#include "virtio_gpu/edid.h"
#include "virtio_gpu/processor.h"

namespace swede::virtio_gpu::commands {
namespace {

using rutabaga::BlobLayout;
using rutabaga::Frame;
using FrameResult = Result<std::shared_ptr<const Frame>>;

/// Where the scanout's rectangle lies in the blob. The Gpu checks the rest against its size.
Result<BlobLayout> layout_of(const wire::SetScanoutBlob& request) {
    const auto format = rutabaga::pixel_format(request.format);
    if (!format)
        return fail(ErrorCode::kInvalidParameter, "Format {} of blob {} is not known.",
                    request.format, request.resource_id);
    const wire::Rect& rect = request.rect;
    if (!rutabaga::rect_inside(rect, request.width, request.height))
        return fail(ErrorCode::kInvalidParameter,
                    "The rectangle {}x{}+{}+{} is not inside the blob's {}x{}.", rect.width,
                    rect.height, rect.x, rect.y, request.width, request.height);
    const uint64_t stride = request.strides[0];
    if (stride < uint64_t{request.width} * rutabaga::kBytesPerPixel)
        return fail(ErrorCode::kInvalidParameter,
                    "The stride ({}) is shorter than a row of {} pixels.", stride, request.width);
    const auto down = checked_mul<uint64_t>(stride, rect.y);
    const uint64_t across =
        uint64_t{rect.x} * rutabaga::kBytesPerPixel + uint64_t{request.offsets[0]};
    const auto offset = down ? checked_add(*down, across) : std::nullopt;
    if (!offset)
        return fail(ErrorCode::kInvalidParameter, "Row {} at a stride of {} is past any memory.",
                    rect.y, stride);
    return BlobLayout{.format = *format,
                      .offset = *offset,
                      .stride = request.strides[0],
                      .width = rect.width,
                      .height = rect.height};
}

}  // namespace

Result<Progress> get_display_info(Processor& processor, Command& command) {
    processor.scanouts().note_question();
    wire::RespDisplayInfo response{};
    std::ranges::copy(processor.scanouts().display_info(), response.modes);
    command.respond(wire::kRespOkDisplayInfo, response);
    return Progress::kDone;
}

Result<Progress> get_edid(Processor& processor, Command& command) {
    const uint32_t scanout =
        SWEDE_TRY(processor.scanouts().check(command.request<wire::GetEdid>().scanout));
    processor.scanouts().note_question();
    const OutputSize& output = processor.scanouts().outputs()[scanout];
    const Edid edid = make_edid(scanout, output.width, output.height);
    wire::RespEdid response{};
    static_assert(sizeof(edid.blocks) <= sizeof(response.edid));
    response.size = static_cast<uint32_t>(edid.size);
    std::ranges::copy(edid.bytes(), response.edid);
    command.respond(wire::kRespOkEdid, response);
    return Progress::kDone;
}

Result<Progress> set_scanout(Processor& processor, Command& command) {
    const auto request = command.request<wire::SetScanout>();
    const uint32_t scanout = SWEDE_TRY(processor.scanouts().check(request.scanout_id));
    if (request.resource_id == 0) {
        processor.scanouts().turn_off(scanout);
        return Progress::kDone;
    }
    const rutabaga::Resource* const resource = processor.gpu().find(request.resource_id);
    if (resource != nullptr && resource->kind == rutabaga::Resource::Kind::k3d) {
        processor.gpu().frame_3d(
            request.resource_id, request.rect,
            processor.completion<std::shared_ptr<const Frame>>(
                [&processor, &command, request](FrameResult frame) {
                    if (!frame) return processor.finish(command, std::unexpected(frame.error()));
                    processor.scanouts().show(request.scanout_id, request.resource_id, request.rect,
                                              *std::move(frame));
                    processor.finish(command, {});
                }));
        return Progress::kPending;
    }
    auto frame = SWEDE_TRY(processor.gpu().frame_2d(request.resource_id, request.rect));
    processor.scanouts().show(scanout, request.resource_id, request.rect, std::move(frame));
    return Progress::kDone;
}

Result<Progress> set_scanout_blob(Processor& processor, Command& command) {
    const auto request = command.request<wire::SetScanoutBlob>();
    const uint32_t scanout = SWEDE_TRY(processor.scanouts().check(request.scanout_id));
    if (request.resource_id == 0) {
        processor.scanouts().turn_off(scanout);
        return Progress::kDone;
    }
    const BlobLayout layout = SWEDE_TRY(layout_of(request));
    processor.gpu().frame_blob(
        request.resource_id, layout,
        processor.completion<std::shared_ptr<const Frame>>(
            [&processor, &command, request, layout](FrameResult frame) {
                if (!frame) return processor.finish(command, std::unexpected(frame.error()));
                processor.scanouts().show(request.scanout_id, request.resource_id, request.rect,
                                          *std::move(frame), layout);
                processor.finish(command, {});
            }));
    return Progress::kPending;
}

Result<Progress> resource_flush(Processor& processor, Command& command) {
    const auto request = command.request<wire::ResourceFlush>();
    if (processor.gpu().find(request.resource_id) == nullptr)
        return fail(ErrorCode::kInvalidResource, "There is no resource {} to flush.",
                    request.resource_id);
    processor.scanouts().flush(request.resource_id, request.rect);
    return Progress::kDone;
}

Result<Progress> update_cursor(Processor& processor, Command& command) {
    const auto request = command.request<wire::UpdateCursor>();
    const uint32_t scanout = SWEDE_TRY(processor.scanouts().check(request.position.scanout_id));
    if (request.resource_id == 0) {
        processor.cursors().hide(scanout);
        return Progress::kDone;
    }
    rutabaga::Resource* const resource = processor.gpu().find(request.resource_id);
    if (resource == nullptr)
        return fail(ErrorCode::kInvalidResource, "There is no resource {} for a cursor.",
                    request.resource_id);
    constexpr uint32_t kSize = wire::kCursorSize;
    if (resource->kind == rutabaga::Resource::Kind::k2d) {
        const auto frame =
            SWEDE_TRY(processor.gpu().frame_2d(request.resource_id, {0, 0, kSize, kSize}));
        SWEDE_TRY(processor.cursors().show(request, *frame));
        return Progress::kDone;
    }
    auto show = processor.completion<std::shared_ptr<const Frame>>(
        [&processor, &command, request](FrameResult frame) {
            if (!frame) return processor.finish(command, std::unexpected(frame.error()));
            processor.finish(command, processor.cursors().show(request, **frame));
        });
    if (resource->kind == rutabaga::Resource::Kind::k3d) {
        processor.gpu().frame_3d(request.resource_id, {0, 0, kSize, kSize}, std::move(show));
        return Progress::kPending;
    }
    // A blob says nothing of its pixels: Linux has its cursors in this format, rows without a gap.
    const BlobLayout layout{.format = rutabaga::PixelFormat::kB8G8R8A8,
                            .offset = 0,
                            .stride = kSize * rutabaga::kBytesPerPixel,
                            .width = kSize,
                            .height = kSize};
    processor.gpu().frame_blob(request.resource_id, layout, std::move(show));
    return Progress::kPending;
}

Result<Progress> move_cursor(Processor& processor, Command& command) {
    const auto request = command.request<wire::UpdateCursor>();
    SWEDE_TRY(processor.scanouts().check(request.position.scanout_id));
    processor.cursors().move(request.position);
    return Progress::kDone;
}

}  // namespace swede::virtio_gpu::commands
