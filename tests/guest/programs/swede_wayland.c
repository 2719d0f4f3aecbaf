// SPDX-License-Identifier: Apache-2.0
// A Wayland client in the guest, straight on cross-domain, without a proxy and without libwayland:
//   swede_wayland show WIDTH HEIGHT SEED    a window with a pattern that the host computes too;
//   stays
//                                           until killed
//   swede_wayland sync COUNT                times of wl_display.sync
//   swede_wayland frames WIDTH HEIGHT COUNT frames a second of a window that draws all of it anew
//   swede_wayland paste                     what the desktop has copied, to standard output
// Opcodes are those of wayland.xml, xdg-shell.xml and wlr-data-control-unstable-v1.xml.
#include <stddef.h>

#include "cross_domain.h"
#include "pattern.h"

enum { DISPLAY = 1, REGISTRY };

struct client {
    struct channel channel;
    uint8_t input[2 * PAGE];
    uint32_t input_size;
    uint32_t next_id;
    // From the registry: names and versions of what we use.
    uint32_t compositor, shm, wm_base, seat, data_control;
    // What events told.
    uint32_t done;    // the last callback that was done
    uint32_t serial;  // of the last configure
    uint32_t offer;   // of the selection
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
    send_bytes(&client->channel, request->words, request->count * 4, file, file ? 1 : 0);
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

static uint32_t bind(struct client* client, uint32_t name, const char* interface,
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
static uint32_t wm_base_id, shell_surface_id, data_device_id;

static void registry_global(struct client* client, const uint32_t* body) {
    static const struct {
        const char* interface;
        size_t field;
    } wanted[] = {{"wl_compositor", offsetof(struct client, compositor)},
                  {"wl_shm", offsetof(struct client, shm)},
                  {"xdg_wm_base", offsetof(struct client, wm_base)},
                  {"wl_seat", offsetof(struct client, seat)},
                  {"zwlr_data_control_manager_v1", offsetof(struct client, data_control)}};
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
    else if (opcode == 0 && object > client->done)
        client->done = object;  // a callback, or an event of one that nobody waits for
}

static void read_events(struct client* client) {
    const struct message message = next_message(&client->channel);
    if (message.command == COMMAND_READ) {
        fwrite(message.data, 1, message.size, stdout);
        client->ended = message.hang_up != 0;
        return;
    }
    need(message.size != 0, "the compositor ended the connection");
    memcpy(client->input + client->input_size, message.data, message.size);
    client->input_size += message.size;
    uint32_t at = 0;
    while (client->input_size - at >= 8) {
        uint32_t words[PAGE / 4];
        memcpy(words, client->input + at, 8);
        const uint32_t size = words[1] >> 16;
        need(size >= 8 && size <= PAGE, "an event of %u bytes", size);
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

static struct client connect_client(void) {
    struct client client = {.channel = open_channel(CHANNEL_WAYLAND), .next_id = REGISTRY + 1};
    REQUEST(&client, DISPLAY, 1, REGISTRY);
    round_trip(&client);
    return client;
}

// --- windows ---

struct window {
    uint32_t surface, buffer, width, height;
    uint32_t* pixels;
};

static struct window open_window(struct client* client, uint32_t width, uint32_t height) {
    struct window window = {.width = width, .height = height};
    const uint32_t compositor = bind(client, client->compositor, "wl_compositor", 1);
    const uint32_t shm = bind(client, client->shm, "wl_shm", 1);
    wm_base_id = bind(client, client->wm_base, "xdg_wm_base", 1);
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
    window.pixels = (uint32_t*)allocate_shared(&client->channel, 4 * width * height, &file);
    const uint32_t pool = client->next_id++;
    struct request create = begin(shm, 0);
    number(&create, pool);
    number(&create, 4 * width * height);
    finish(client, &create, &file);
    window.buffer = client->next_id++;
    REQUEST(client, pool, 0, window.buffer, 0, width, height, 4 * width, 1 /* xrgb8888 */);
    return window;
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

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int compare_doubles(const void* a, const void* b) {
    const double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const uint32_t a = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0;
    const uint32_t b = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0;
    const uint32_t c = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0;
    need(argc > 1, "usage: swede_wayland show|sync|frames|paste ...");
    struct client client = connect_client();
    if (strcmp(argv[1], "show") == 0) {
        struct window window = open_window(&client, a, b);
        for (uint32_t y = 0; y < b; ++y)
            for (uint32_t x = 0; x < a; ++x) window.pixels[y * a + x] = pattern(c, x, y) & 0xffffff;
        show_window(&client, &window);
        printf("SWEDE ready=1\n");
        for (;;) read_events(&client);
    }
    if (strcmp(argv[1], "sync") == 0) {
        double* const times = calloc(a, sizeof *times);
        for (uint32_t i = 0; i < a; ++i) {
            const double start = now();
            round_trip(&client);
            times[i] = (now() - start) * 1e6;
        }
        qsort(times, a, sizeof *times, compare_doubles);
        printf("SWEDE sync count=%u p50_us=%.1f p99_us=%.1f\n", a, times[a / 2],
               times[a * 99 / 100]);
        return 0;
    }
    if (strcmp(argv[1], "frames") == 0) {
        struct window window = open_window(&client, a, b);
        const double start = now();
        for (uint32_t i = 0; i < c; ++i) {
            for (uint32_t pixel = 0; pixel < a * b; ++pixel) window.pixels[pixel] = pixel * 3 + i;
            show_window(&client, &window);
        }
        printf("SWEDE frames=%u per_second=%.1f\n", c, c / (now() - start));
        return 0;
    }
    need(strcmp(argv[1], "paste") == 0, "unknown word %s", argv[1]);
    const uint32_t seat = bind(&client, client.seat, "wl_seat", 1);
    const uint32_t manager = bind(&client, client.data_control, "zwlr_data_control_manager_v1", 1);
    data_device_id = client.next_id++;
    REQUEST(&client, manager, 1, data_device_id, seat);
    while (client.offer == 0) read_events(&client);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    struct request receive = begin(client.offer, 0);
    text(&receive, "text/plain;charset=utf-8");
    const struct identifier pipe = {0x80000001, IDENTIFIER_READ_PIPE, 0};
    finish(&client, &receive, &pipe);
    while (!client.ended) read_events(&client);
    return 0;
}
