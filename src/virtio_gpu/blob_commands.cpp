// SPDX-License-Identifier: Apache-2.0
// Blobs and the host-visible window: 5.7.6.8 and 5.7.6.9.
#include "virtio_gpu/commands.h"
#include "virtio_gpu/processor.h"

namespace swede::virtio_gpu::commands {

Result<Progress> resource_create_blob(Processor& processor, Command& command) {
    const auto request = command.request<wire::ResourceCreateBlob>();
    std::shared_ptr<Backing> backing;
    if (request.nr_entries != 0)
        backing =
            SWEDE_TRY(processor.backing<wire::ResourceCreateBlob>(command, request.nr_entries));
    const rutabaga::BlobRequest blob{.blob_mem = request.blob_mem,
                                     .blob_flags = request.blob_flags,
                                     .blob_id = request.blob_id,
                                     .size = request.size};
    processor.gpu().create_blob(command.header.ctx_id, request.resource_id, blob,
                                std::move(backing), processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> resource_map_blob(Processor& processor, Command& command) {
    const auto request = command.request<wire::ResourceMapBlob>();
    SWEDE_TRY(processor.mapper().map(
        request.resource_id, request.offset,
        [&processor, &command, id = request.resource_id](Result<void> mapped) {
            if (mapped) {
                wire::RespMapInfo response{};
                response.map_info = processor.gpu().find(id)->map_info & wire::kMapCacheMask;
                command.respond(wire::kRespOkMapInfo, response);
            }
            processor.finish(command, std::move(mapped));
        }));
    return Progress::kPending;
}

Result<Progress> resource_unmap_blob(Processor& processor, Command& command) {
    SWEDE_TRY(processor.mapper().unmap(command.request<wire::ResourceUnmapBlob>().resource_id,
                                       [&processor, &command](Result<void> unmapped) {
                                           processor.finish(command, std::move(unmapped));
                                       }));
    return Progress::kPending;
}

}  // namespace swede::virtio_gpu::commands
