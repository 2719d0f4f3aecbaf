// SPDX-License-Identifier: Apache-2.0
// A Wayland client in the guest, straight on cross-domain, without a proxy and without libwayland:
//   swede_wayland show WIDTH HEIGHT SEED    a window with a pattern that the host computes too;
//                                           stays until killed
//   swede_wayland import FILE WIDTH HEIGHT ROW
//                                           a window of an inherited dma-buf with rows of ROW
//                                           bytes, which may be another renderer's; likewise
//   swede_wayland keymap [write]            gives the seat a keymap and reads it back; then writes
//                                           where it is to be read
//   swede_wayland paste                     what the desktop has copied, to standard output
//   swede_wayland copy                      standard input is copied; stays until killed
//   swede_wayland twice COUNT               round trips on two connections in turn
// and what is measured:
//   swede_wayland sync COUNT                times of wl_display.sync
//   swede_wayland frames WIDTH HEIGHT COUNT frames a second of a window that draws all of it anew
//   swede_wayland paste-time                of what the desktop has copied
#include "cross_domain.h"
#include "pattern.h"
#include "wayland_measures.h"

enum { SEAT_KEYBOARD = 2, XKB_V1 = 1 };

static void stay(struct client* client, const struct window* window) {
    show_window(client, window);
    printf("SWEDE ready=1\n");
    for (;;) read_events(client);
}

static void show(struct client* client, uint32_t width, uint32_t height, uint32_t seed) {
    const struct window window = open_window(client, width, height);
    for (uint32_t y = 0; y < height; ++y)
        for (uint32_t x = 0; x < width; ++x)
            window.pixels[y * width + x] = pattern(seed, x, y) & 0xffffff;
    stay(client, &window);
}

static void round_trip_keymap(struct client* client, struct channel* channel, int and_write) {
    static const char keymap[] =
        "xkb_keymap { xkb_keycodes { <A> = 38; }; xkb_types { virtual_modifiers NumLock; type "
        "\"ONE_LEVEL\" { modifiers = none; }; }; xkb_compatibility { }; xkb_symbols { key <A> { [ "
        "a "
        "] }; }; };";
    seat_id = bind_global(client, client->seat, "wl_seat", 1);
    const uint32_t manager =
        bind_global(client, client->virtual_keyboard, "zwp_virtual_keyboard_manager_v1", 1);
    const uint32_t keyboard = client->next_id++;
    REQUEST(client, manager, 0, seat_id, keyboard);
    struct identifier file;
    memcpy(client->connection->allocate(client->connection, sizeof keymap, &file), keymap,
           sizeof keymap);
    struct request give = begin(keyboard, 0);
    number(&give, XKB_V1);
    number(&give, sizeof keymap);
    finish(client, &give, &file);
    while ((client->abilities & SEAT_KEYBOARD) == 0) read_events(client);
    keyboard_id = client->next_id++;
    REQUEST(client, seat_id, 1, keyboard_id);
    while (client->file_size == 0 || client->file.id == 0) read_events(client);
    uint8_t* const text = map_received(channel, &client->file, client->file_size);
    need(text[client->file_size - 1] == 0, "a keymap that ends");
    printf("SWEDE keymap size=%u text=\"%.10s\" has_key=%d\n", client->file_size, (const char*)text,
           strstr((const char*)text, "<A>") != NULL);
    if (and_write) *(volatile uint8_t*)text = 'X';
}

static void copy(struct client* client, struct channel* channel) {
    size_t size = 0, room = 1 << 20;
    uint8_t* data = malloc(room);
    for (size_t got; (got = fread(data + size, 1, room - size, stdin)) != 0;) {
        size += got;
        if (size == room) data = realloc(data, room *= 2);
    }
    open_clipboard(client);
    const uint32_t source = client->next_id++;
    REQUEST(client, data_control_manager, 0, source);
    struct request offer = begin(source, 0);
    text(&offer, CLIPBOARD_TYPE);
    finish(client, &offer, NULL);
    REQUEST(client, data_device_id, 0, source);
    round_trip(client);
    printf("SWEDE ready=1\n");
    for (;;) {
        read_events(client);
        if (client->file.id == 0) continue;
        need(client->file.type == IDENTIFIER_WRITE_PIPE, "a pipe to write");
        write_pipe(channel, client->file.id, data, size);
        client->file.id = 0;
    }
}

static void round_trips_on_two(struct client* first, uint32_t count) {
    struct channel channel = open_channel();
    struct client second = connect_client(&channel.connection);
    for (uint32_t i = 0; i < count; ++i) {
        round_trip(first);
        round_trip(&second);
    }
    printf("SWEDE ok=1\n");
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const uint32_t a = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0;
    const uint32_t b = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0;
    const uint32_t c = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0;
    const uint32_t d = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 0) : 0;
    need(argc > 1,
         "usage: swede_wayland show|import|keymap|paste|copy|twice|sync|frames|paste-time ...");
    struct channel channel = open_channel();
    struct client client = connect_client(&channel.connection);
    if (strcmp(argv[1], "show") == 0) {
        show(&client, a, b, c);
    } else if (strcmp(argv[1], "import") == 0) {
        const struct identifier pixels = import_file(&channel, (int)a);
        const struct window window = open_window_of(&client, b, c, d, &pixels);
        stay(&client, &window);
    } else if (strcmp(argv[1], "keymap") == 0) {
        round_trip_keymap(&client, &channel, argc > 2);
    } else if (strcmp(argv[1], "paste") == 0) {
        setvbuf(stdout, NULL, _IOFBF, 1 << 16);
        client.output = stdout;
        paste(&client, wait_for_offer(&client));
    } else if (strcmp(argv[1], "copy") == 0) {
        copy(&client, &channel);
    } else if (strcmp(argv[1], "twice") == 0) {
        round_trips_on_two(&client, a);
    } else {
        need(measure(&client, argv[1], a, b, c), "unknown word %s", argv[1]);
    }
    return 0;
}
