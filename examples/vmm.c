/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM's use of the C library in one file: what it does when a guest draws a picture and shows it.
 *
 *     cc vmm.c $(pkg-config --cflags --libs rutabaga_gfx_ffi) -o vmm && ./vmm picture.ppm
 */
#include <errno.h>
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 64, HEIGHT = 48, PICTURE = 1 };

/* "Guest RAM": the picture lies in two pieces, as a guest's pages do. */
static uint8_t guest[2][WIDTH * HEIGHT * 4 / 2];

struct vmm {
    uint64_t reached; /* the newest fence that was */
};

/* May come on any thread; a real VMM hands it to the thread that owns the virtqueue. */
static void on_fence(uint64_t user_data, const struct rutabaga_fence* fence) {
    struct vmm* vmm = (struct vmm*)(uintptr_t)user_data;
    vmm->reached = fence->fence_id;
}

static void on_debug(uint64_t user_data, const struct rutabaga_debug* debug) {
    (void)user_data;
    fprintf(stderr, "gpu: %s\n", debug->message);
}

static void draw(void) {
    for (int y = 0; y < HEIGHT; ++y)
        for (int x = 0; x < WIDTH; ++x) {
            const size_t at = (size_t)(y * WIDTH + x) * 4;
            uint8_t* pixel = guest[at / sizeof(guest[0])] + at % sizeof(guest[0]);
            pixel[0] = 128;              /* blue */
            pixel[1] = (uint8_t)(4 * x); /* green */
            pixel[2] = (uint8_t)(5 * y); /* red */
            pixel[3] = 255;
        }
}

static int save(const char* path, const uint8_t* pixels) {
    FILE* file = fopen(path, "wb");
    if (file == NULL) return -errno;
    fprintf(file, "P6\n%d %d\n255\n", WIDTH, HEIGHT);
    for (int i = 0; i < WIDTH * HEIGHT; ++i, pixels += 4) {
        const uint8_t rgb[3] = {pixels[2], pixels[1], pixels[0]};
        fwrite(rgb, sizeof(rgb), 1, file);
    }
    return fclose(file) == 0 ? 0 : -errno;
}

/* RESOURCE_CREATE_2D, RESOURCE_ATTACH_BACKING, TRANSFER_TO_HOST_2D with a fence, RESOURCE_FLUSH. */
static int show(struct rutabaga* gpu, const char* path) {
    static uint8_t shown[WIDTH * HEIGHT * 4];
    struct rutabaga_create_3d picture = {0};
    struct iovec pieces[2] = {{guest[0], sizeof(guest[0])}, {guest[1], sizeof(guest[1])}};
    const struct rutabaga_iovecs backing = {pieces, 2};
    struct iovec screen = {shown, sizeof(shown)};
    struct rutabaga_transfer whole = {0};
    const struct rutabaga_fence fence = {RUTABAGA_FLAG_FENCE, 1, 0, 0};
    int result;

    picture.target = 2; /* a texture of two dimensions */
    picture.format = 1; /* VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM */
    picture.bind = 2;   /* a render target */
    picture.width = WIDTH;
    picture.height = HEIGHT;
    picture.depth = 1;
    picture.array_size = 1;
    whole.w = WIDTH;
    whole.h = HEIGHT;
    whole.d = 1;

    if ((result = rutabaga_resource_create_3d(gpu, PICTURE, &picture)) != 0) return result;
    if ((result = rutabaga_resource_attach_backing(gpu, PICTURE, &backing)) != 0) return result;
    draw();
    if ((result = rutabaga_resource_transfer_write(gpu, 0, PICTURE, &whole)) != 0) return result;
    if ((result = rutabaga_create_fence(gpu, &fence)) != 0) return result;
    if ((result = rutabaga_resource_transfer_read(gpu, 0, PICTURE, &whole, &screen)) != 0)
        return result;
    if ((result = rutabaga_resource_unref(gpu, PICTURE)) != 0) return result;
    return save(path, shown);
}

int main(int argc, char** argv) {
    struct vmm vmm = {0};
    struct rutabaga_builder builder = {0};
    struct rutabaga* gpu = NULL;
    int result;

    if (argc != 2) {
        fprintf(stderr, "usage: vmm PICTURE.ppm\n");
        return 2;
    }
    builder.user_data = (uint64_t)(uintptr_t)&vmm;
    builder.capset_mask = 0; /* 2D */
    builder.wsi = RUTABAGA_WSI_SURFACELESS;
    builder.fence_cb = on_fence;
    builder.debug_cb = on_debug;
    result = rutabaga_init(&builder, &gpu);
    if (result == 0) {
        result = show(gpu, argv[1]);
        rutabaga_finish(&gpu); /* every fence is reached when it returns */
        if (result == 0 && vmm.reached != 1) result = -EIO;
    }
    if (result != 0) fprintf(stderr, "vmm: %s\n", strerror(-result));
    return result == 0 ? 0 : 1;
}
