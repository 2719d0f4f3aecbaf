// SPDX-License-Identifier: Apache-2.0
// Resources of all kinds: 5.7.6.8.
#include <algorithm>

#include "virtio_gpu/commands.h"
#include "virtio_gpu/processor.h"

namespace swede::virtio_gpu::commands {

Result<Progress> resource_create_2d(Processor& processor, Command& command) {
    SWEDE_TRY(processor.gpu().create_2d(command.request<wire::ResourceCreate2d>()));
    return Progress::kDone;
}

Result<Progress> resource_unref(Processor& processor, Command& command) {
    const auto id = command.request<wire::ResourceUnref>().resource_id;
    if (processor.gpu().find(id) == nullptr)
        return fail(ErrorCode::kInvalidResource, "There is no resource {}.", id);
    processor.scanouts().forget_resource(id);
    if (!processor.mapper().is_mapped(id)) {
        processor.gpu().destroy_resource(id, processor.finishing(command));
        return Progress::kPending;
    }
    // The guest keeps no window onto memory that is freed (D11).
    SWEDE_TRY(processor.mapper().unmap(id, [&processor, &command, id](Result<void>) {
        processor.gpu().destroy_resource(id, processor.finishing(command));
    }));
    return Progress::kPending;
}

Result<Progress> transfer_to_host_2d(Processor& processor, Command& command) {
    SWEDE_TRY(processor.gpu().transfer_to_host_2d(command.request<wire::TransferToHost2d>()));
    return Progress::kDone;
}

Result<Progress> resource_attach_backing(Processor& processor, Command& command) {
    const auto request = command.request<wire::ResourceAttachBacking>();
    std::shared_ptr<Backing> backing =
        SWEDE_TRY(processor.backing<wire::ResourceAttachBacking>(command, request.nr_entries));
    SWEDE_TRY(processor.gpu().attach_backing(request.resource_id, std::move(backing)));
    return Progress::kDone;
}

Result<Progress> resource_detach_backing(Processor& processor, Command& command) {
    const uint32_t id = command.request<wire::ResourceDetachBacking>().resource_id;
    SWEDE_TRY(processor.gpu().detach_backing(id));
    const rutabaga::Resource& resource = *processor.gpu().find(id);
    if (resource.renderer == nullptr && !resource.reached_renderer) return Progress::kDone;
    processor.gpu().settle_detaches(processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> resource_assign_uuid(Processor& processor, Command& command) {
    const auto uuid =
        SWEDE_TRY(processor.gpu().uuid(command.request<wire::ResourceAssignUuid>().resource_id));
    wire::RespResourceUuid response{};
    std::ranges::copy(uuid, response.uuid);
    command.respond(wire::kRespOkResourceUuid, response);
    return Progress::kDone;
}

}  // namespace swede::virtio_gpu::commands
