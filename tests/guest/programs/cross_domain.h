// SPDX-License-Identifier: Apache-2.0
// The guest's end of a cross-domain channel over Linux's virtio-gpu driver: what a Wayland proxy in
// a guest does. Each failure ends the program.
#pragma once

#include "virtgpu.h"
// What follows uses need().
#include "cross_domain_messages.h"

enum { BLOB_GUEST = 1, BLOB_SHAREABLE = 2, CONTEXT_POLL_RINGS = 3 };

struct channel {
    struct connection connection;  // first
    int node;
    uint32_t query_handle, query_id, ring_handle, ring_id;
    uint8_t* query;
    uint8_t* ring;
};

static void execute(int node, const void* command, size_t size, uint32_t flags, uint32_t ring,
                    int* fence) {
    struct virtgpu_execute execute = {.flags = flags,
                                      .size = (uint32_t)size,
                                      .command = (uintptr_t)command,
                                      .fence = -1,
                                      .ring = ring};
    need(ioctl(node, IOCTL_EXECUTE, &execute) == 0, "execute command %u", *(const uint8_t*)command);
    if (fence) *fence = execute.fence;
}

// Memory of the guest (blob id 0) or of the host; mapped.
static uint8_t* create_memory(int node, uint32_t memory, uint32_t flags, uint64_t blob_id,
                              uint64_t size, uint32_t* handle, uint32_t* resource) {
    struct virtgpu_create_blob create = {
        .memory = memory, .flags = flags, .size = size, .blob_id = blob_id};
    need(ioctl(node, IOCTL_CREATE_BLOB, &create) == 0, "create a blob of %llu bytes",
         (unsigned long long)size);
    struct virtgpu_map map = {.handle = create.handle};
    need(ioctl(node, IOCTL_MAP, &map) == 0, "map a blob");
    uint8_t* const bytes =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, node, (off_t)map.offset);
    need(bytes != MAP_FAILED, "mmap a blob");
    *handle = create.handle;
    *resource = create.resource;
    return bytes;
}

static void send_on(struct connection* connection, const void* data, uint32_t size,
                    const struct identifier* file) {
    uint8_t command[PAGE];
    const uint32_t whole = make_send(command, data, size, file);
    execute(((struct channel*)connection)->node, command, whole, 0, 0, NULL);
}

// Asks for one message and waits for it: the driver tells by an event of the file.
static struct received receive_from(struct connection* connection) {
    struct channel* const channel = (struct channel*)connection;
    execute(channel->node, poll_command, sizeof poll_command, EXECUTE_RING, CHANNEL_RING, NULL);
    uint32_t event[2];
    need(read(channel->node, event, sizeof event) == sizeof event && event[0] == 0x90000000,
         "read the event of a fence");
    return received_in(channel->ring);
}

static uint8_t* allocate_on(struct connection* connection, uint32_t size,
                            struct identifier* identifier) {
    struct channel* const channel = (struct channel*)connection;
    const struct image_command ask = make_image(size);
    int fence;
    execute(channel->node, &ask, sizeof ask, EXECUTE_FENCE_OUT | EXECUTE_RING, 0, &fence);
    wait_for(fence, "the image requirements");
    const struct image image = image_in(channel->query, size);
    uint32_t handle;
    identifier->type = IDENTIFIER_BLOB;
    return create_memory(channel->node, BLOB_HOST3D, BLOB_MAPPABLE | BLOB_SHAREABLE, image.blob,
                         image.size, &handle, &identifier->id);
}

static struct channel open_channel(void) {
    struct channel channel = {.connection = {send_on, receive_from, allocate_on, read_pipe},
                              .node = open_node()};
    struct virtgpu_context_param params[] = {{CONTEXT_CAPSET, CROSS_DOMAIN_CAPSET},
                                             {CONTEXT_RINGS, 2},
                                             {CONTEXT_POLL_RINGS, 1 << CHANNEL_RING}};
    struct virtgpu_context_init init = {.count = 3, .params = (uintptr_t)params};
    need(ioctl(channel.node, IOCTL_CONTEXT_INIT, &init) == 0, "context_init");
    channel.query = create_memory(channel.node, BLOB_GUEST, BLOB_MAPPABLE, 0, PAGE,
                                  &channel.query_handle, &channel.query_id);
    channel.ring = create_memory(channel.node, BLOB_GUEST, BLOB_MAPPABLE, 0, PAGE,
                                 &channel.ring_handle, &channel.ring_id);
    const struct init_command init_channel = make_init(channel.query_id, channel.ring_id);
    execute(channel.node, &init_channel, sizeof init_channel, 0, 0, NULL);
    return channel;
}

// The resource behind a dma-buf of another context, attached to the channel's, to be sent.
__attribute__((unused)) static struct identifier import_file(struct channel* channel, int file) {
    struct drm_prime_handle handle = {.fd = file};
    need(ioctl(channel->node, DRM_IOCTL_PRIME_FD_TO_HANDLE, &handle) == 0, "import a dma-buf");
    struct virtgpu_resource_info info = {.handle = handle.handle};
    need(ioctl(channel->node, IOCTL_RESOURCE_INFO, &info) == 0, "the resource of a dma-buf");
    return (struct identifier){info.resource, IDENTIFIER_BLOB, 0};
}

// Memory that the compositor sent; mapped.
__attribute__((unused)) static uint8_t* map_received(struct channel* channel,
                                                     const struct identifier* file, uint32_t size) {
    need(file->type == IDENTIFIER_BLOB && file->size >= size, "memory of %u bytes is %u of type %u",
         size, file->size, file->type);
    const uint64_t pages = ((uint64_t)size + PAGE - 1) / PAGE * PAGE;
    uint32_t handle, resource;
    return create_memory(channel->node, BLOB_HOST3D, BLOB_MAPPABLE | BLOB_SHAREABLE, file->id,
                         pages, &handle, &resource);
}

// All of it into a pipe that the compositor sent, and its end.
__attribute__((unused)) static void write_pipe(struct channel* channel, uint32_t id,
                                               const uint8_t* data, size_t size) {
    uint8_t command[PAGE];
    for (size_t done = 0;;) {
        const uint32_t part = size - done < MAX_WRITE ? (uint32_t)(size - done) : MAX_WRITE;
        const uint32_t last = done + part == size;
        const uint32_t head[] = {COMMAND_WRITE | (WRITE_HEAD + part) << 16, 0, id, last, part, 0};
        memcpy(command, head, sizeof head);
        memcpy(command + WRITE_HEAD, data + done, part);
        execute(channel->node, command, WRITE_HEAD + part, 0, 0, NULL);
        done += part;
        if (last) return;
    }
}
