// SPDX-License-Identifier: Apache-2.0
// Draws on a virtio-gpu output through KMS as fast as the device takes it, and says how fast. It
// does not know whose device it is.
//
//   swede_draw flip SECONDS      turns pages between two buffers, as a compositor does that draws
//   all swede_draw dirty SECONDS     hands over the whole of one buffer again and again (DIRTYFB)
//   swede_draw damage COUNT      hands over 64x64 pixels and waits until the device has taken them
//
// Drawing itself costs little (a strip of 16 rows a frame), so that an emulated processor's speed
// at filling memory is not what is measured; the kernel hands over full frames all the same.
// Each run ends when the device has done all of it, prints one line 'SWEDE draw ...' with seconds
// or microseconds, and leaves its last frame on the screen, the strip in the colour 'last='.
#include <poll.h>

#include "kms.h"

enum { kStripRows = 16, kDamage = 64, kMaxSamples = 20000 };

static struct output output;
static struct buffer cursor_image;

// Returns when the device has answered all that was handed over before. Setting a cursor image is
// the one thing that KMS asks of any virtio-gpu device with a fence on the queue of the frames.
static void wait_for_device(void) {
    struct drm_mode_cursor2 cursor = {.flags = DRM_MODE_CURSOR_BO, .crtc_id = output.crtc};
    cursor.width = cursor.height = 64;
    cursor.handle = cursor_image.handle;
    need(ioctl(card, DRM_IOCTL_MODE_CURSOR2, &cursor), "cursor2");
}

static uint32_t colour(uint32_t frame) {
    return 0x404040u + frame * 0x010307u % 0x808080u;
}

static void draw_strip(struct buffer* buffer, uint32_t frame) {
    const uint32_t value = colour(frame);
    uint32_t* row = buffer->pixels;
    for (uint32_t y = 0; y < kStripRows; ++y, row += buffer->stride / 4)
        for (uint32_t x = 0; x < buffer->width; ++x) row[x] = value;
}

static void turn_page(struct buffer* buffer) {
    struct drm_mode_crtc_page_flip flip = {
        .crtc_id = output.crtc, .fb_id = buffer->framebuffer, .flags = DRM_MODE_PAGE_FLIP_EVENT};
    need(ioctl(card, DRM_IOCTL_MODE_PAGE_FLIP, &flip), "page_flip");
    char event[256];
    need(read(card, event, sizeof(event)) <= 0, "event");
}

static int compare(const void* left, const void* right) {
    const double a = *(const double*)left;
    const double b = *(const double*)right;
    return (a > b) - (a < b);
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 3) return 2;
    const char* mode = argv[1];
    const uint32_t amount = (uint32_t)strtoul(argv[2], NULL, 10);

    output = open_output();
    struct buffer buffers[2];
    for (int i = 0; i < 2; ++i) {
        buffers[i] = make_buffer(output.mode.hdisplay, output.mode.vdisplay, 1);
        memset(buffers[i].pixels, 0x20, (size_t)buffers[i].stride * buffers[i].height);
    }
    cursor_image = make_buffer(64, 64, 0);
    show(&buffers[0], &output);
    dirty(&buffers[0], 0, 0, buffers[0].width, buffers[0].height);
    wait_for_device();

    if (strcmp(mode, "damage") == 0) {
        static double samples[kMaxSamples];
        const uint32_t count = amount < kMaxSamples ? amount : kMaxSamples;
        struct buffer* screen = &buffers[0];
        for (uint32_t i = 0; i < count; ++i) {
            const uint32_t x = i * 67 % (screen->width - kDamage);
            const uint32_t y = kStripRows + i * 71 % (screen->height - kDamage - kStripRows);
            for (uint32_t row = y; row < y + kDamage; ++row)
                memset(screen->pixels + row * (screen->stride / 4) + x, (int)i, kDamage * 4);
            const double start = now();
            dirty(screen, x, y, kDamage, kDamage);
            wait_for_device();
            samples[i] = (now() - start) * 1e6;
        }
        qsort(samples, count, sizeof(double), compare);
        printf("SWEDE draw damage=%u p50=%.1f p99=%.1f\n", count, samples[count / 2],
               samples[count * 99 / 100]);
        return 0;
    }

    const int flips = strcmp(mode, "flip") == 0;
    if (!flips && strcmp(mode, "dirty") != 0) return 2;
    const double start = now();
    uint32_t frames = 0;
    while (now() < start + amount) {
        struct buffer* screen = &buffers[flips ? (frames + 1) % 2 : 0];
        draw_strip(screen, ++frames);
        if (flips)
            turn_page(screen);
        else
            dirty(screen, 0, 0, screen->width, screen->height);
    }
    wait_for_device();
    printf("SWEDE draw %s=%u seconds=%.6f last=%06x\n", mode, frames, now() - start,
           colour(frames));
    // The framebuffer goes with this program: the consumer of the pixels gets a moment to take it.
    sleep(1);
    return 0;
}
