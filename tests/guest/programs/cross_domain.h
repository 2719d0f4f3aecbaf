// SPDX-License-Identifier: Apache-2.0
// The guest's end of a cross-domain channel (docs/cross-domain.md) over Linux's virtio-gpu driver:
// what a Wayland proxy in a guest does. Each failure ends the program.
#pragma once

#include "virtgpu.h"
#include "wayland_client.h"

enum { CROSS_DOMAIN_CAPSET = 5, CHANNEL_WAYLAND = 1, CHANNEL_RING = 1, PAGE = 4096 };
enum { COMMAND_INIT = 1, COMMAND_IMAGE, COMMAND_POLL, COMMAND_SEND, COMMAND_RECEIVE, COMMAND_READ };
enum { IDENTIFIER_BLOB = 1, IDENTIFIER_READ_PIPE = 3, MAX_IDENTIFIERS = 28 };
enum { BLOB_GUEST = 1, BLOB_SHAREABLE = 2, CONTEXT_POLL_RINGS = 3 };
enum { SEND_HEAD = 16 + 12 * MAX_IDENTIFIERS, MAX_SEND = PAGE - SEND_HEAD };

struct channel {
    int node;
    uint32_t query_handle, query_id, ring_handle, ring_id;
    uint8_t* query;
    uint8_t* ring;
};

// One message of the host. `data` and `identifiers` lie in the ring until the next one is asked
// for.
struct message {
    uint32_t command;  // COMMAND_RECEIVE or COMMAND_READ
    uint32_t count;    // of identifiers; of a READ its pipe's id
    uint32_t hang_up;  // of a READ
    uint32_t size;     // of the data; 0 and no identifier: the end
    const uint8_t* data;
    struct identifier identifiers[MAX_IDENTIFIERS];
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

static struct channel open_channel(uint32_t type) {
    struct channel channel = {.node = open_node()};
    struct virtgpu_context_param params[] = {{CONTEXT_CAPSET, CROSS_DOMAIN_CAPSET},
                                             {CONTEXT_RINGS, 2},
                                             {CONTEXT_POLL_RINGS, 1 << CHANNEL_RING}};
    struct virtgpu_context_init init = {.count = 3, .params = (uintptr_t)params};
    need(ioctl(channel.node, IOCTL_CONTEXT_INIT, &init) == 0, "context_init");
    channel.query = create_memory(channel.node, BLOB_GUEST, BLOB_MAPPABLE, 0, PAGE,
                                  &channel.query_handle, &channel.query_id);
    channel.ring = create_memory(channel.node, BLOB_GUEST, BLOB_MAPPABLE, 0, PAGE,
                                 &channel.ring_handle, &channel.ring_id);
    const uint32_t command[] = {COMMAND_INIT | 20 << 16, 0, channel.query_id, channel.ring_id,
                                type};
    execute(channel.node, command, sizeof command, 0, 0, NULL);
    return channel;
}

static void send_bytes(struct channel* channel, const void* data, uint32_t size,
                       const struct identifier* identifiers, uint32_t count) {
    uint8_t command[PAGE] = {0};
    need(size <= MAX_SEND && count <= MAX_IDENTIFIERS, "a SEND of %u bytes", size);
    const uint32_t head[] = {COMMAND_SEND | (SEND_HEAD + size) << 16, 0, count, size};
    memcpy(command, head, sizeof head);
    for (uint32_t i = 0; i < count; ++i) {
        memcpy(command + 16 + 4 * i, &identifiers[i].id, 4);
        memcpy(command + 16 + 4 * (MAX_IDENTIFIERS + i), &identifiers[i].type, 4);
    }
    memcpy(command + SEND_HEAD, data, size);
    execute(channel->node, command, SEND_HEAD + size, 0, 0, NULL);
}

// Asks for one message and waits for it: the driver tells by an event of the file.
static struct message next_message(struct channel* channel) {
    const uint32_t poll_command[] = {COMMAND_POLL | CHANNEL_RING << 8 | 16 << 16, 0, 0, 0};
    execute(channel->node, poll_command, sizeof poll_command, EXECUTE_RING, CHANNEL_RING, NULL);
    uint32_t event[2];
    need(read(channel->node, event, sizeof event) == sizeof event && event[0] == 0x90000000,
         "read the event of a fence");
    struct message message = {0};
    memcpy(&message.command, channel->ring, 4);
    if (message.command == COMMAND_READ) {
        uint32_t words[3];
        memcpy(words, channel->ring + 8, sizeof words);
        message.count = words[0];
        message.hang_up = words[1];
        message.size = words[2];
        message.data = channel->ring + 24;
        return message;
    }
    need(message.command == COMMAND_RECEIVE, "message %#x", message.command);
    memcpy(&message.count, channel->ring + 8, 4);
    memcpy(&message.size, channel->ring + 12, 4);
    need(message.count <= MAX_IDENTIFIERS && message.size <= MAX_SEND, "a message of %u bytes",
         message.size);
    for (uint32_t i = 0; i < message.count; ++i) {
        memcpy(&message.identifiers[i].id, channel->ring + 16 + 4 * i, 4);
        memcpy(&message.identifiers[i].type, channel->ring + 16 + 4 * (MAX_IDENTIFIERS + i), 4);
        memcpy(&message.identifiers[i].size, channel->ring + 16 + 4 * (2 * MAX_IDENTIFIERS + i), 4);
    }
    message.data = channel->ring + SEND_HEAD;
    return message;
}

// The resource behind a dma-buf of another context, attached to the channel's, for send_bytes().
__attribute__((unused)) static struct identifier import_file(struct channel* channel, int file) {
    struct drm_prime_handle handle = {.fd = file};
    need(ioctl(channel->node, DRM_IOCTL_PRIME_FD_TO_HANDLE, &handle) == 0, "import a dma-buf");
    struct virtgpu_resource_info info = {.handle = handle.handle};
    need(ioctl(channel->node, IOCTL_RESOURCE_INFO, &info) == 0, "the resource of a dma-buf");
    return (struct identifier){info.resource, IDENTIFIER_BLOB, 0};
}

// Memory that the host's compositor can share: its resource, for send_bytes(), and where it is.
static uint8_t* allocate_shared(struct channel* channel, uint32_t size,
                                struct identifier* identifier) {
    const uint32_t ask[] = {COMMAND_IMAGE | 24 << 16, 0, size, 1, 0x20203852 /* R8 */, 0x11};
    int fence;
    execute(channel->node, ask, sizeof ask, EXECUTE_FENCE_OUT | EXECUTE_RING, 0, &fence);
    wait_for(fence, "the image requirements");
    uint64_t bytes;
    uint32_t blob;
    memcpy(&bytes, channel->query + 40, 8);
    memcpy(&blob, channel->query + 48, 4);
    need(bytes >= size && blob != 0, "%llu bytes for an image of %u", (unsigned long long)bytes,
         size);
    uint32_t handle;
    uint8_t* const memory =
        create_memory(channel->node, BLOB_HOST3D, BLOB_MAPPABLE | BLOB_SHAREABLE, blob, bytes,
                      &handle, &identifier->id);
    identifier->type = IDENTIFIER_BLOB;
    return memory;
}
