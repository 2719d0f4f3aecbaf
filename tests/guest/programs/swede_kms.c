// SPDX-License-Identifier: Apache-2.0
// Draws on a virtio-gpu output through KMS, without any library, and stays until it is killed.
//
//   swede_kms pattern SEED             full screen of a pattern that the host computes too
//   swede_kms damage SEED X Y W H      the same, then one rectangle of pattern SEED + 1 (DIRTYFB)
//   swede_kms cursor SEED X Y HX HY    the pattern and a 64x64 cursor with its hot spot at X, Y
//   swede_kms flood SECONDS            redraws full frames for a while, then says how many
//
// Prints "SWEDE kms ready=1 width=W height=H" when the pixels are handed over.
#include "kms.h"
#include "pattern.h"

static void fill(struct buffer* buffer, uint32_t seed, uint32_t x0, uint32_t y0, uint32_t w,
                 uint32_t h) {
    for (uint32_t y = y0; y < y0 + h; ++y)
        for (uint32_t x = x0; x < x0 + w; ++x)
            buffer->pixels[y * (buffer->stride / 4) + x] = pattern(seed, x, y);
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3) return 2;
    uint32_t value[8] = {0};
    for (int i = 2; i < argc && i < 10; ++i) value[i - 2] = (uint32_t)strtoul(argv[i], NULL, 0);

    struct output output = open_output();
    struct buffer screen = make_buffer(output.mode.hdisplay, output.mode.vdisplay, 1);
    fill(&screen, value[0], 0, 0, screen.width, screen.height);
    show(&screen, &output);
    dirty(&screen, 0, 0, screen.width, screen.height);

    if (strcmp(argv[1], "damage") == 0) {
        fill(&screen, value[0] + 1, value[1], value[2], value[3], value[4]);
        dirty(&screen, value[1], value[2], value[3], value[4]);
    } else if (strcmp(argv[1], "cursor") == 0) {
        struct buffer image = make_buffer(64, 64, 0);
        // Premultiplied: opaque, half and clear thirds, so that blending shows.
        for (uint32_t y = 0; y < 64; ++y)
            for (uint32_t x = 0; x < 64; ++x)
                image.pixels[y * (image.stride / 4) + x] = y < 21   ? 0xff0000ffu + (x << 16)
                                                           : y < 42 ? 0x80400000u + x
                                                                    : 0;
        struct drm_mode_cursor2 cursor = {.flags = DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE};
        cursor.crtc_id = output.crtc;
        cursor.x = (int32_t)(value[1] - value[3]);
        cursor.y = (int32_t)(value[2] - value[4]);
        cursor.width = cursor.height = 64;
        cursor.handle = image.handle;
        cursor.hot_x = (int32_t)value[3];
        cursor.hot_y = (int32_t)value[4];
        need(ioctl(card, DRM_IOCTL_MODE_CURSOR2, &cursor), "cursor2");
    } else if (strcmp(argv[1], "flood") == 0) {
        const double end = now() + value[0];
        unsigned frames = 0;
        for (; now() < end; ++frames) {
            memset(screen.pixels, (int)frames, (size_t)screen.stride * screen.height);
            dirty(&screen, 0, 0, screen.width, screen.height);
        }
        printf("SWEDE kms frames=%u\n", frames);
        return 0;
    }
    printf("SWEDE kms ready=1 width=%u height=%u\n", screen.width, screen.height);
    for (;;) pause();
}
