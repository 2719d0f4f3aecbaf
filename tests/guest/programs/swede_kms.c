// SPDX-License-Identifier: Apache-2.0
// Draws on a virtio-gpu output through KMS, without any library, and stays until it is killed.
//
//   swede_kms pattern SEED             full screen of a pattern that the host computes too
//   swede_kms damage SEED X Y W H      the same, then one rectangle of pattern SEED + 1 (DIRTYFB)
//   swede_kms cursor SEED X Y HX HY    the pattern and a 64x64 cursor with its hot spot at X, Y
//   swede_kms flood SECONDS            redraws full frames for a while, then says how many
//
// Prints "SWEDE kms ready=1 width=W height=H" when the pixels are handed over.
#include <drm.h>
#include <drm_fourcc.h>
#include <drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int card;

static void need(int result, const char* what) {
    if (result == 0) return;
    printf("SWEDE kms error=%s errno=%d\n", what, errno);
    exit(1);
}

struct buffer {
    uint32_t handle, framebuffer, width, height, stride;
    uint32_t* pixels;
};

static struct buffer make_buffer(uint32_t width, uint32_t height, int framebuffer) {
    struct drm_mode_create_dumb create = {.width = width, .height = height, .bpp = 32};
    need(ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create), "create_dumb");
    struct drm_mode_map_dumb map = {.handle = create.handle};
    need(ioctl(card, DRM_IOCTL_MODE_MAP_DUMB, &map), "map_dumb");
    struct buffer buffer = {create.handle, 0, width, height, create.pitch, NULL};
    buffer.pixels = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)map.offset);
    need(buffer.pixels == MAP_FAILED, "mmap");
    if (framebuffer) {
        struct drm_mode_fb_cmd2 add = {.width = width, .height = height};
        add.pixel_format = DRM_FORMAT_XRGB8888;
        add.handles[0] = create.handle;
        add.pitches[0] = create.pitch;
        need(ioctl(card, DRM_IOCTL_MODE_ADDFB2, &add), "addfb2");
        buffer.framebuffer = add.fb_id;
    }
    return buffer;
}

// The same function is in pictures.py: each pixel depends on seed and place in all its bytes.
static uint32_t pattern(uint32_t seed, uint32_t x, uint32_t y) {
    uint32_t value = (x * 2654435761u) ^ (y * 2246822519u) ^ (seed * 3266489917u);
    value ^= value >> 15;
    return value * 668265263u;
}

static void fill(struct buffer* buffer, uint32_t seed, uint32_t x0, uint32_t y0, uint32_t w, uint32_t h) {
    for (uint32_t y = y0; y < y0 + h; ++y)
        for (uint32_t x = x0; x < x0 + w; ++x)
            buffer->pixels[y * (buffer->stride / 4) + x] = pattern(seed, x, y);
}

static void show(struct buffer* buffer, uint32_t crtc, uint32_t connector, struct drm_mode_modeinfo* mode) {
    struct drm_mode_crtc set = {.crtc_id = crtc, .fb_id = buffer->framebuffer, .mode_valid = 1};
    set.set_connectors_ptr = (uintptr_t)&connector;
    set.count_connectors = 1;
    set.mode = *mode;
    need(ioctl(card, DRM_IOCTL_MODE_SETCRTC, &set), "setcrtc");
}

static void dirty(struct buffer* buffer, uint32_t x, uint32_t y, uint32_t w, uint32_t h) {
    struct drm_clip_rect clip = {(uint16_t)x, (uint16_t)y, (uint16_t)(x + w), (uint16_t)(y + h)};
    struct drm_mode_fb_dirty_cmd command = {.fb_id = buffer->framebuffer, .num_clips = 1};
    command.clips_ptr = (uintptr_t)&clip;
    need(ioctl(card, DRM_IOCTL_MODE_DIRTYFB, &command), "dirtyfb");
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 3) return 2;
    uint32_t value[8] = {0};
    for (int i = 2; i < argc && i < 10; ++i) value[i - 2] = (uint32_t)strtoul(argv[i], NULL, 0);

    card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
    need(card < 0, "open");
    uint32_t connectors[16], crtcs[16], encoders[16];
    struct drm_mode_card_res resources = {.count_connectors = 16, .count_crtcs = 16, .count_encoders = 16};
    resources.connector_id_ptr = (uintptr_t)connectors;
    resources.crtc_id_ptr = (uintptr_t)crtcs;
    resources.encoder_id_ptr = (uintptr_t)encoders;
    need(ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &resources), "getresources");

    // The first call, without arrays, probes the connector; the second fetches its modes.
    static struct drm_mode_modeinfo modes[128];
    uint32_t connector_encoders[16];
    struct drm_mode_get_connector connector = {.connector_id = connectors[0]};
    need(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector), "probe");
    connector = (struct drm_mode_get_connector){.connector_id = connectors[0], .count_modes = 128,
                                                .count_encoders = 16};
    connector.modes_ptr = (uintptr_t)modes;
    connector.encoders_ptr = (uintptr_t)connector_encoders;
    need(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector), "getconnector");
    need(connector.count_modes == 0, "no modes");
    struct drm_mode_modeinfo* mode = &modes[0];
    for (uint32_t i = 0; i < connector.count_modes && i < 128; ++i)
        if (modes[i].type & DRM_MODE_TYPE_PREFERRED) {
            mode = &modes[i];
            break;
        }

    struct buffer screen = make_buffer(mode->hdisplay, mode->vdisplay, 1);
    fill(&screen, value[0], 0, 0, screen.width, screen.height);
    show(&screen, crtcs[0], connectors[0], mode);
    dirty(&screen, 0, 0, screen.width, screen.height);

    if (strcmp(argv[1], "damage") == 0) {
        fill(&screen, value[0] + 1, value[1], value[2], value[3], value[4]);
        dirty(&screen, value[1], value[2], value[3], value[4]);
    } else if (strcmp(argv[1], "cursor") == 0) {
        struct buffer image = make_buffer(64, 64, 0);
        // Premultiplied: opaque, half and clear thirds, so that blending shows.
        for (uint32_t y = 0; y < 64; ++y)
            for (uint32_t x = 0; x < 64; ++x)
                image.pixels[y * (image.stride / 4) + x] =
                    y < 21 ? 0xff0000ffu + (x << 16) : y < 42 ? 0x80400000u + x : 0;
        struct drm_mode_cursor2 cursor = {.flags = DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE};
        cursor.crtc_id = crtcs[0];
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
