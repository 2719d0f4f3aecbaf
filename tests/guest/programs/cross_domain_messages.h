// SPDX-License-Identifier: Apache-2.0
// Messages of cross-domain (docs/cross-domain.md), whatever carries them.
#pragma once

#include "wayland_client.h"

enum { CROSS_DOMAIN_CAPSET = 5, CHANNEL_WAYLAND = 1, CHANNEL_RING = 1, PAGE = 4096 };
enum {
    COMMAND_INIT = 1,
    COMMAND_IMAGE,
    COMMAND_POLL,
    COMMAND_SEND,
    COMMAND_RECEIVE,
    COMMAND_READ,
    COMMAND_WRITE
};
enum { IDENTIFIER_BLOB = 1, IDENTIFIER_READ_PIPE = 3, IDENTIFIER_WRITE_PIPE = 4 };
enum { MAX_IDENTIFIERS = 28, SEND_HEAD = 16 + 12 * MAX_IDENTIFIERS, MAX_SEND = PAGE - SEND_HEAD };
enum { WRITE_HEAD = 24, MAX_WRITE = PAGE - WRITE_HEAD };

// One message of the host. `data` lies in the ring until the next one is asked for.
struct message {
    uint32_t command;  // COMMAND_RECEIVE or COMMAND_READ
    uint32_t count;    // of identifiers; of a READ its pipe's id
    uint32_t hang_up;  // of a READ
    uint32_t size;     // of the data; 0 and no identifier: the end
    const uint8_t* data;
    struct identifier identifiers[MAX_IDENTIFIERS];
};

static struct message message_in(const uint8_t* ring) {
    struct message message = {0};
    memcpy(&message.command, ring, 4);
    if (message.command == COMMAND_READ) {
        uint32_t words[3];
        memcpy(words, ring + 8, sizeof words);
        message.count = words[0];
        message.hang_up = words[1];
        message.size = words[2];
        message.data = ring + WRITE_HEAD;
        return message;
    }
    need(message.command == COMMAND_RECEIVE, "message %#x", message.command);
    memcpy(&message.count, ring + 8, 4);
    memcpy(&message.size, ring + 12, 4);
    need(message.count <= MAX_IDENTIFIERS && message.size <= MAX_SEND, "a message of %u bytes",
         message.size);
    for (uint32_t i = 0; i < message.count; ++i) {
        memcpy(&message.identifiers[i].id, ring + 16 + 4 * i, 4);
        memcpy(&message.identifiers[i].type, ring + 16 + 4 * (MAX_IDENTIFIERS + i), 4);
        memcpy(&message.identifiers[i].size, ring + 16 + 4 * (2 * MAX_IDENTIFIERS + i), 4);
    }
    message.data = ring + SEND_HEAD;
    return message;
}

static struct received received_in(const uint8_t* ring) {
    const struct message message = message_in(ring);
    return (struct received){message.data, message.size, message.command == COMMAND_READ,
                             message.hang_up != 0, message.identifiers[0]};
}

// Writes a SEND into a page; its size.
static uint32_t make_send(uint8_t* command, const void* data, uint32_t size,
                          const struct identifier* identifier) {
    need(size <= MAX_SEND, "a SEND of %u bytes", size);
    memset(command, 0, SEND_HEAD);
    const uint32_t head[] = {COMMAND_SEND | (SEND_HEAD + size) << 16, 0, identifier ? 1 : 0, size};
    memcpy(command, head, sizeof head);
    if (identifier) {
        memcpy(command + 16, &identifier->id, 4);
        memcpy(command + 16 + 4 * MAX_IDENTIFIERS, &identifier->type, 4);
    }
    memcpy(command + SEND_HEAD, data, size);
    return SEND_HEAD + size;
}

// Asks for a message, with a fence of the channel ring.
static const uint32_t poll_command[] = {COMMAND_POLL | CHANNEL_RING << 8 | 16 << 16, 0, 0, 0};

struct init_command {
    uint32_t words[5];
};
static struct init_command make_init(uint32_t query, uint32_t ring) {
    return (struct init_command){{COMMAND_INIT | 20 << 16, 0, query, ring, CHANNEL_WAYLAND}};
}

// Memory that the compositor can share, of `size` bytes: asked for, and what the query ring says.
struct image_command {
    uint32_t words[6];
};
static struct image_command make_image(uint32_t size) {
    return (struct image_command){
        {COMMAND_IMAGE | 24 << 16, 0, size, 1, 0x20203852 /* R8 */, 0x11}};
}
struct image {
    uint64_t size;
    uint32_t blob;
};
static struct image image_in(const uint8_t* query, uint32_t size) {
    struct image image;
    memcpy(&image.size, query + 40, 8);
    memcpy(&image.blob, query + 48, 4);
    need(image.size >= size && image.blob != 0, "%llu bytes for an image of %u",
         (unsigned long long)image.size, size);
    return image;
}

// The first id that guests take for pipes that they read.
static struct identifier read_pipe(struct connection* connection) {
    (void)connection;
    return (struct identifier){0x80000001, IDENTIFIER_READ_PIPE, 0};
}
