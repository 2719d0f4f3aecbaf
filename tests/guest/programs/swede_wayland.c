// SPDX-License-Identifier: Apache-2.0
// A Wayland client in the guest, straight on cross-domain, without a proxy and without libwayland:
//   swede_wayland show WIDTH HEIGHT SEED    a window with a pattern that the host computes too;
//   stays
//                                           until killed
//   swede_wayland import FILE WIDTH HEIGHT ROW
//                                           a window of an inherited dma-buf with rows of ROW
//                                           bytes, which may be another renderer's; likewise
//   swede_wayland sync COUNT                times of wl_display.sync
//   swede_wayland frames WIDTH HEIGHT COUNT frames a second of a window that draws all of it anew
//   swede_wayland paste                     what the desktop has copied, to standard output
#include "cross_domain.h"
#include "pattern.h"
#include "wayland_client.h"

struct cross_domain_connection {
    struct connection connection;  // first
    struct channel channel;
};

static struct channel* channel_of(struct connection* connection) {
    return &((struct cross_domain_connection*)connection)->channel;
}
static void send_on(struct connection* connection, const void* data, uint32_t size,
                    const struct identifier* file) {
    send_bytes(channel_of(connection), data, size, file, file ? 1 : 0);
}
static struct received receive_from(struct connection* connection) {
    const struct message message = next_message(channel_of(connection));
    return (struct received){message.data, message.size, message.command == COMMAND_READ,
                             message.hang_up != 0};
}
static uint8_t* allocate_on(struct connection* connection, uint32_t size, struct identifier* file) {
    return allocate_shared(channel_of(connection), size, file);
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const uint32_t a = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0;
    const uint32_t b = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0;
    const uint32_t c = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0;
    const uint32_t d = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 0) : 0;
    need(argc > 1, "usage: swede_wayland show|import|sync|frames|paste ...");
    struct cross_domain_connection connection = {{send_on, receive_from, allocate_on},
                                                 open_channel(CHANNEL_WAYLAND)};
    struct client client = connect_client(&connection.connection);
    if (strcmp(argv[1], "show") == 0) {
        struct window window = open_window(&client, a, b);
        for (uint32_t y = 0; y < b; ++y)
            for (uint32_t x = 0; x < a; ++x) window.pixels[y * a + x] = pattern(c, x, y) & 0xffffff;
        show_window(&client, &window);
        printf("SWEDE ready=1\n");
        for (;;) read_events(&client);
    }
    if (strcmp(argv[1], "import") == 0) {
        const struct identifier pixels = import_file(&connection.channel, (int)a);
        const struct window window = open_window_of(&client, b, c, d, &pixels);
        show_window(&client, &window);
        printf("SWEDE ready=1\n");
        for (;;) read_events(&client);
    }
    if (strcmp(argv[1], "sync") == 0) {
        measure_syncs(&client, a);
        return 0;
    }
    if (strcmp(argv[1], "frames") == 0) {
        measure_frames(&client, a, b, c);
        return 0;
    }
    need(strcmp(argv[1], "paste") == 0, "unknown word %s", argv[1]);
    const uint32_t seat = bind_global(&client, client.seat, "wl_seat", 1);
    const uint32_t manager =
        bind_global(&client, client.data_control, "zwlr_data_control_manager_v1", 1);
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
