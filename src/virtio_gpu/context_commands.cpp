// SPDX-License-Identifier: Apache-2.0
// Capsets, contexts and what they execute: 5.7.6.8 and 5.7.6.9.
#include <algorithm>

#include "base/log.h"
#include "virtio_gpu/commands.h"
#include "virtio_gpu/processor.h"

namespace swede::virtio_gpu::commands {
namespace {

log::Module log_("virtio_gpu");

}  // namespace

Result<Progress> get_capset_info(Processor& processor, Command& command) {
    const uint32_t index = command.request<wire::GetCapsetInfo>().capset_index;
    const rutabaga::Capset* const capset = processor.gpu().capset_at(index);
    if (capset == nullptr)
        return fail(ErrorCode::kInvalidParameter, "There is no capset {} of {}.", index,
                    processor.gpu().num_capsets());
    wire::RespCapsetInfo response{};
    response.capset_id = capset->id;
    response.capset_max_version = capset->version;
    response.capset_max_size = static_cast<uint32_t>(capset->data.size());
    command.respond(wire::kRespOkCapsetInfo, response);
    return Progress::kDone;
}

Result<Progress> get_capset(Processor& processor, Command& command) {
    const auto request = command.request<wire::GetCapset>();
    const rutabaga::Capset* const capset = processor.gpu().capset(request.capset_id);
    if (capset == nullptr || request.capset_version > capset->version)
        return fail(ErrorCode::kInvalidParameter, "Capset {} in version {} is not offered.",
                    request.capset_id, request.capset_version);
    const uint64_t size = sizeof(wire::ControlHeader) + capset->data.size();
    if (command.chain.writable_size < size)  // CVE-2021-3546
        return fail(ErrorCode::kInvalidParameter, "Capset {} of {} bytes has room for {}.",
                    request.capset_id, size, command.chain.writable_size);
    command.respond(wire::kRespOkCapset);
    command.response.insert(command.response.end(), capset->data.begin(), capset->data.end());
    return Progress::kDone;
}

Result<Progress> ctx_create(Processor& processor, Command& command) {
    const auto request = command.request<wire::CtxCreate>();
    rutabaga::ContextInfo info;
    if (processor.has_feature(wire::kFeatureContextInit))
        info.capset_id = request.context_init & wire::kContextInitCapsetIdMask;
    // The guest's length may be any number; the field has 64 bytes (D8).
    info.debug_name.assign(request.debug_name,
                           std::min<size_t>(request.nlen, sizeof(request.debug_name)));
    if (log_.enabled(log::Level::debug))
        log_.debug("Context {} is called \"{}\".", command.header.ctx_id,
                   log::escaped(info.debug_name));
    processor.gpu().create_context(command.header.ctx_id, info, processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> ctx_destroy(Processor& processor, Command& command) {
    const rutabaga::ContextId context = command.header.ctx_id;
    processor.gpu().destroy_context(
        context, processor.completion<void>([&processor, &command, context](Result<void> result) {
            // Whatever the renderer says of it: nobody completes them any more.
            if (!processor.gpu().has_context(context)) processor.complete_fences(context);
            processor.finish(command, std::move(result));
        }));
    return Progress::kPending;
}

Result<Progress> ctx_attach_resource(Processor& processor, Command& command) {
    const rutabaga::ContextId context = command.header.ctx_id;
    const rutabaga::ResourceId resource = command.request<wire::CtxResource>().resource_id;
    if (!processor.gpu().attaches_memory(context, resource)) {
        SWEDE_TRY(processor.gpu().attach_resource(context, resource));
        return Progress::kDone;
    }
    processor.gpu().attach_with_memory(context, resource, processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> ctx_detach_resource(Processor& processor, Command& command) {
    SWEDE_TRY(processor.gpu().detach_resource(command.header.ctx_id,
                                              command.request<wire::CtxResource>().resource_id));
    return Progress::kDone;
}

Result<Progress> resource_create_3d(Processor& processor, Command& command) {
    processor.gpu().create_3d(command.request<wire::ResourceCreate3d>(),
                              processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> transfer_to_host_3d(Processor& processor, Command& command) {
    processor.gpu().transfer_to_host(command.header.ctx_id, command.request<wire::TransferHost3d>(),
                                     processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> transfer_from_host_3d(Processor& processor, Command& command) {
    processor.gpu().transfer_from_host(command.header.ctx_id,
                                       command.request<wire::TransferHost3d>(),
                                       processor.finishing(command));
    return Progress::kPending;
}

Result<Progress> submit_3d(Processor& processor, Command& command) {
    const uint32_t size = command.request<wire::CmdSubmit>().size;
    const auto commands = SWEDE_TRY(processor.tail<wire::CmdSubmit>(command, size));
    SWEDE_TRY(processor.gpu().submit(command.header.ctx_id, processor.ring_of(command), commands));
    return Progress::kDone;
}

}  // namespace swede::virtio_gpu::commands
