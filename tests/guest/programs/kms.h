// SPDX-License-Identifier: Apache-2.0
// Linux's KMS without any library, for the small programs that run in a guest: the first output of
// /dev/dri/card0 with its preferred mode, dumb buffers, DIRTYFB. Each failure ends the program.
#pragma once

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
    buffer.pixels =
        mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)map.offset);
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

struct output {
    uint32_t crtc, connector;
    struct drm_mode_modeinfo mode;
};

// Opens the card and finds its first output.
static struct output open_output(void) {
    card = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
    need(card < 0, "open");
    uint32_t connectors[16], crtcs[16], encoders[16];
    struct drm_mode_card_res resources = {
        .count_connectors = 16, .count_crtcs = 16, .count_encoders = 16};
    resources.connector_id_ptr = (uintptr_t)connectors;
    resources.crtc_id_ptr = (uintptr_t)crtcs;
    resources.encoder_id_ptr = (uintptr_t)encoders;
    need(ioctl(card, DRM_IOCTL_MODE_GETRESOURCES, &resources), "getresources");

    // The first call, without arrays, probes the connector; the second fetches its modes.
    static struct drm_mode_modeinfo modes[128];
    uint32_t connector_encoders[16];
    struct drm_mode_get_connector connector = {.connector_id = connectors[0]};
    need(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector), "probe");
    connector = (struct drm_mode_get_connector){
        .connector_id = connectors[0], .count_modes = 128, .count_encoders = 16};
    connector.modes_ptr = (uintptr_t)modes;
    connector.encoders_ptr = (uintptr_t)connector_encoders;
    need(ioctl(card, DRM_IOCTL_MODE_GETCONNECTOR, &connector), "getconnector");
    need(connector.count_modes == 0, "no modes");
    struct output output = {.crtc = crtcs[0], .connector = connectors[0], .mode = modes[0]};
    for (uint32_t i = 0; i < connector.count_modes && i < 128; ++i)
        if (modes[i].type & DRM_MODE_TYPE_PREFERRED) {
            output.mode = modes[i];
            break;
        }
    return output;
}

static void show(struct buffer* buffer, struct output* output) {
    struct drm_mode_crtc set = {
        .crtc_id = output->crtc, .fb_id = buffer->framebuffer, .mode_valid = 1};
    set.set_connectors_ptr = (uintptr_t)&output->connector;
    set.count_connectors = 1;
    set.mode = output->mode;
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
