// SPDX-License-Identifier: Apache-2.0
// The desktop's clipboard, by wlr-data-control: no window and no focus is needed.
#pragma once

#include "wayland_client.h"

#define CLIPBOARD_TYPE "text/plain;charset=utf-8"

static uint32_t data_control_manager;

static void open_clipboard(struct client* client) {
    seat_id = bind_global(client, client->seat, "wl_seat", 1);
    data_control_manager =
        bind_global(client, client->data_control, "zwlr_data_control_manager_v1", 1);
    data_device_id = client->next_id++;
    REQUEST(client, data_control_manager, 1, data_device_id, seat_id);
}

// What the desktop has copied, once it has.
static uint32_t wait_for_offer(struct client* client) {
    open_clipboard(client);
    while (client->offer == 0) read_events(client);
    return client->offer;
}

// Reads the offer to its end, into client->output.
static void paste(struct client* client, uint32_t offer) {
    struct request receive = begin(offer, 0);
    text(&receive, CLIPBOARD_TYPE);
    const struct identifier pipe = client->connection->open_pipe(client->connection);
    finish(client, &receive, &pipe);
    while (!client->ended) read_events(client);
}
