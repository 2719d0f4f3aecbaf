// SPDX-License-Identifier: Apache-2.0
// As much of a Wayland client as tests and benchmarks need, over any connection and without
// libwayland. Opcodes are those of wayland.xml, xdg-shell.xml and wlr-data-control-unstable-v1.xml.
// Each failure ends the program.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "need.h"

enum { EVENT_BYTES = 4096 };  // the most that a message of the compositor has, and one event

// A file that goes along with bytes, in the connection's own words.
struct identifier {
    uint32_t id, type, size;
};

// What came: bytes of the compositor, or of the pipe that is read.
struct received {
    const uint8_t* data;  // until the next one is asked for
    uint32_t size;        // 0: the end
    int of_pipe;
    int hang_up;             // of the pipe
    struct identifier file;  // that came along; id 0: none
};

struct connection {
    void (*send)(struct connection*, const void* data, uint32_t size,
                 const struct identifier* file);
    struct received (*receive)(struct connection*);  // waits
    // Memory that the compositor can share, mapped, and its file.
    uint8_t* (*allocate)(struct connection*, uint32_t size, struct identifier* file);
    // The end to send of a pipe that receive() reads; one at a time.
    struct identifier (*open_pipe)(struct connection*);
};

enum { DISPLAY = 1, REGISTRY, FIRST_OF_SERVER = 0xff000000 };

struct client {
    struct connection* connection;
    uint8_t input[2 * EVENT_BYTES];
    uint32_t input_size;
    uint32_t next_id;
    // From the registry: names and versions of what we use.
    uint32_t compositor, shm, wm_base, seat, data_control, virtual_keyboard;
    // What events told.
    uint32_t done;           // the last callback that was done
    uint32_t serial;         // of the last configure
    uint32_t offer;          // of the selection
    uint32_t abilities;      // of the seat
    struct identifier file;  // the last that came; id 0: none, or it was taken
    uint32_t file_size;      // as the keymap's event tells it
    // The pipe that is read: where its bytes go (NULL: nowhere), how many came, whether all did.
    FILE* output;
    uint64_t piped;
    int ended;
};

// --- requests ---

struct request {
    uint32_t words[256];
    uint32_t count;
};

static struct request begin(uint32_t object, uint32_t opcode) {
    return (struct request){{object, opcode}, 2};
}
static void number(struct request* request, uint32_t value) {
    request->words[request->count++] = value;
}
static void text(struct request* request, const char* value) {
    const uint32_t size = (uint32_t)strlen(value) + 1;
    number(request, size);
    memcpy(&request->words[request->count], value, size);
    request->count += (size + 3) / 4;
}
static void finish(struct client* client, struct request* request, const struct identifier* file) {
    request->words[1] |= request->count * 4 << 16;
    client->connection->send(client->connection, request->words, request->count * 4, file);
}
static void simple(struct client* client, uint32_t object, uint32_t opcode, uint32_t count,
                   const uint32_t* values) {
    struct request request = begin(object, opcode);
    for (uint32_t i = 0; i < count; ++i) number(&request, values[i]);
    finish(client, &request, NULL);
}
#define REQUEST(client, object, opcode, ...)                         \
    do {                                                             \
        const uint32_t values_[] = {__VA_ARGS__};                    \
        simple(client, object, opcode, sizeof values_ / 4, values_); \
    } while (0)

static uint32_t bind_global(struct client* client, uint32_t name, const char* interface,
                            uint32_t version) {
    need(name != 0, "the compositor has no %s", interface);
    const uint32_t id = client->next_id++;
    struct request request = begin(REGISTRY, 0);
    number(&request, name);
    text(&request, interface);
    number(&request, version);
    number(&request, id);
    finish(client, &request, NULL);
    return id;
}

// --- events ---

// Objects whose events we read; 0: none yet.
static uint32_t wm_base_id, shell_surface_id, data_device_id, seat_id, keyboard_id;

static void registry_global(struct client* client, const uint32_t* body) {
    static const struct {
        const char* interface;
        size_t field;
    } wanted[] = {{"wl_compositor", offsetof(struct client, compositor)},
                  {"wl_shm", offsetof(struct client, shm)},
                  {"xdg_wm_base", offsetof(struct client, wm_base)},
                  {"wl_seat", offsetof(struct client, seat)},
                  {"zwlr_data_control_manager_v1", offsetof(struct client, data_control)},
                  {"zwp_virtual_keyboard_manager_v1", offsetof(struct client, virtual_keyboard)}};
    const char* const interface = (const char*)&body[2];
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; ++i)
        if (strcmp(interface, wanted[i].interface) == 0)
            memcpy((char*)client + wanted[i].field, body, 4);
}

static void event(struct client* client, uint32_t object, uint32_t opcode, const uint32_t* body) {
    if (object == DISPLAY && opcode == 0) {
        printf("SWEDE error what=\"the compositor says: %s\"\n", (const char*)&body[3]);
        exit(1);
    }
    if (object == DISPLAY) return;  // delete_id
    if (object == REGISTRY && opcode == 0)
        registry_global(client, body);
    else if (object == wm_base_id)
        REQUEST(client, wm_base_id, 3, body[0]);  // ping, pong
    else if (object == shell_surface_id)
        client->serial = body[0];
    else if (object == data_device_id && opcode == 1)
        client->offer = body[0];
    else if (object == seat_id)
        client->abilities = opcode == 0 ? body[0] : client->abilities;
    else if (object == keyboard_id && opcode == 0)
        client->file_size = body[1];
    else if (opcode == 0 && object > client->done && object < FIRST_OF_SERVER)
        client->done = object;  // a callback, or an event of one that nobody waits for
}

static void read_events(struct client* client) {
    const struct received received = client->connection->receive(client->connection);
    if (received.of_pipe) {
        if (client->output) fwrite(received.data, 1, received.size, client->output);
        client->piped += received.size;
        client->ended = received.hang_up;
        return;
    }
    need(received.size != 0 || received.file.id != 0, "the compositor ended the connection");
    if (received.file.id != 0) client->file = received.file;
    memcpy(client->input + client->input_size, received.data, received.size);
    client->input_size += received.size;
    uint32_t at = 0;
    while (client->input_size - at >= 8) {
        uint32_t words[EVENT_BYTES / 4];
        memcpy(words, client->input + at, 8);
        const uint32_t size = words[1] >> 16;
        need(size >= 8 && size <= EVENT_BYTES, "an event of %u bytes", size);
        if (client->input_size - at < size) break;
        memcpy(words, client->input + at, size);
        at += size;
        event(client, words[0], words[1] & 0xffff, words + 2);
    }
    client->input_size -= at;
    memmove(client->input, client->input + at, client->input_size);
}

static void wait_for_callback(struct client* client, uint32_t callback) {
    while (client->done < callback) read_events(client);
}
static void round_trip(struct client* client) {
    const uint32_t callback = client->next_id++;
    REQUEST(client, DISPLAY, 0, callback);
    wait_for_callback(client, callback);
}

static struct client connect_client(struct connection* connection) {
    struct client client = {.connection = connection, .next_id = REGISTRY + 1};
    REQUEST(&client, DISPLAY, 1, REGISTRY);
    round_trip(&client);
    return client;
}

// --- windows ---

struct window {
    uint32_t surface, buffer, width, height;
    uint32_t* pixels;
};

// `pixels`: memory with rows of `row` bytes that is there already; NULL for new memory, which is
// mapped.
static struct window open_window_of(struct client* client, uint32_t width, uint32_t height,
                                    uint32_t row, const struct identifier* pixels) {
    struct window window = {.width = width, .height = height};
    const uint32_t compositor = bind_global(client, client->compositor, "wl_compositor", 1);
    const uint32_t shm = bind_global(client, client->shm, "wl_shm", 1);
    wm_base_id = bind_global(client, client->wm_base, "xdg_wm_base", 1);
    window.surface = client->next_id++;
    REQUEST(client, compositor, 0, window.surface);
    shell_surface_id = client->next_id++;
    REQUEST(client, wm_base_id, 2, shell_surface_id, window.surface);
    const uint32_t toplevel = client->next_id++;
    REQUEST(client, shell_surface_id, 1, toplevel);
    struct request name = begin(toplevel, 3);
    text(&name, "test");
    finish(client, &name, NULL);
    simple(client, window.surface, 6, 0, NULL);  // commit: the compositor answers with a configure
    while (client->serial == 0) read_events(client);
    REQUEST(client, shell_surface_id, 4, client->serial);

    struct identifier file;
    if (pixels)
        file = *pixels;
    else
        window.pixels =
            (uint32_t*)client->connection->allocate(client->connection, row * height, &file);
    const uint32_t pool = client->next_id++;
    struct request create = begin(shm, 0);
    number(&create, pool);
    number(&create, row * height);
    finish(client, &create, &file);
    window.buffer = client->next_id++;
    REQUEST(client, pool, 0, window.buffer, 0, width, height, row, 1 /* xrgb8888 */);
    return window;
}

static struct window open_window(struct client* client, uint32_t width, uint32_t height) {
    return open_window_of(client, width, height, 4 * width, NULL);
}

// Commits what is drawn, and waits until the compositor asks for the next frame.
static void show_window(struct client* client, const struct window* window) {
    REQUEST(client, window->surface, 1, window->buffer, 0, 0);
    REQUEST(client, window->surface, 2, 0, 0, window->width, window->height);
    const uint32_t callback = client->next_id++;
    REQUEST(client, window->surface, 3, callback);
    simple(client, window->surface, 6, 0, NULL);
    wait_for_callback(client, callback);
}
