// SPDX-License-Identifier: Apache-2.0
// How fast a Wayland client is on its connection; each measure prints one line.
#pragma once

#include <time.h>

#include "wayland_clipboard.h"

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int compare_doubles(const void* a, const void* b) {
    const double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

// Times of wl_display.sync.
static void measure_syncs(struct client* client, uint32_t count) {
    double* const times = calloc(count, sizeof *times);
    for (uint32_t i = 0; i < count; ++i) {
        const double start = now();
        round_trip(client);
        times[i] = (now() - start) * 1e6;
    }
    qsort(times, count, sizeof *times, compare_doubles);
    printf("SWEDE sync count=%u p50_us=%.1f p99_us=%.1f\n", count, times[count / 2],
           times[count * 99 / 100]);
    free(times);
}

// Frames a second of a window that draws all of it anew.
static void measure_frames(struct client* client, uint32_t width, uint32_t height, uint32_t count) {
    struct window window = open_window(client, width, height);
    show_window(client, &window);
    const double start = now();
    for (uint32_t i = 0; i < count; ++i) {
        for (uint32_t pixel = 0; pixel < width * height; ++pixel)
            window.pixels[pixel] = pixel * 3 + i;
        show_window(client, &window);
    }
    printf("SWEDE frames=%u per_second=%.1f\n", count, count / (now() - start));
}

// How long a paste takes of what the desktop has copied.
static void measure_paste(struct client* client) {
    const uint32_t offer = wait_for_offer(client);
    const double start = now();
    paste(client, offer);
    printf("SWEDE paste bytes=%llu paste_ms=%.2f\n", (unsigned long long)client->piped,
           (now() - start) * 1e3);
}

// One of these by its name; 0: there is none of it.
static int measure(struct client* client, const char* what, uint32_t a, uint32_t b, uint32_t c) {
    if (strcmp(what, "sync") == 0)
        measure_syncs(client, a);
    else if (strcmp(what, "frames") == 0)
        measure_frames(client, a, b, c);
    else if (strcmp(what, "paste-time") == 0)
        measure_paste(client);
    else
        return 0;
    return 1;
}
