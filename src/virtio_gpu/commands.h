// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "virtio_gpu/command_table.h"

/// The handlers, by subject. Each checks what it reads of its request; ids are checked by the Gpu.
namespace swede::virtio_gpu::commands {

// resource_commands.cpp
Result<Progress> resource_create_2d(Processor&, Command&);
Result<Progress> resource_unref(Processor&, Command&);
Result<Progress> transfer_to_host_2d(Processor&, Command&);
Result<Progress> resource_attach_backing(Processor&, Command&);
Result<Progress> resource_detach_backing(Processor&, Command&);
Result<Progress> resource_assign_uuid(Processor&, Command&);

// display_commands.cpp
Result<Progress> get_display_info(Processor&, Command&);
Result<Progress> get_edid(Processor&, Command&);
Result<Progress> set_scanout(Processor&, Command&);
Result<Progress> set_scanout_blob(Processor&, Command&);
Result<Progress> resource_flush(Processor&, Command&);
Result<Progress> update_cursor(Processor&, Command&);
Result<Progress> move_cursor(Processor&, Command&);

// context_commands.cpp
Result<Progress> get_capset_info(Processor&, Command&);
Result<Progress> get_capset(Processor&, Command&);
Result<Progress> ctx_create(Processor&, Command&);
Result<Progress> ctx_destroy(Processor&, Command&);
Result<Progress> ctx_attach_resource(Processor&, Command&);
Result<Progress> ctx_detach_resource(Processor&, Command&);
Result<Progress> resource_create_3d(Processor&, Command&);
Result<Progress> transfer_to_host_3d(Processor&, Command&);
Result<Progress> transfer_from_host_3d(Processor&, Command&);
Result<Progress> submit_3d(Processor&, Command&);

// blob_commands.cpp
Result<Progress> resource_create_blob(Processor&, Command&);
Result<Progress> resource_map_blob(Processor&, Command&);
Result<Progress> resource_unmap_blob(Processor&, Command&);

}  // namespace swede::virtio_gpu::commands
