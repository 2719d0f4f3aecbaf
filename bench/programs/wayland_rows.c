// SPDX-License-Identifier: Apache-2.0
// One Wayland client, on the compositor's socket or on a cross-domain channel of the C library, so
// that both can be timed:
//   wayland_rows direct SOCKET sync COUNT | frames WIDTH HEIGHT COUNT | paste-time
//   wayland_rows LIBRARY SOCKET sync COUNT | frames WIDTH HEIGHT COUNT | paste-time | calls COUNT
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cross_domain_messages.h"
#include "wayland_measures.h"
#include "wayland_socket.h"

// --- the C library ---

enum { CONTEXT = 1, QUERY = 1, RING, FIRST_IMAGE };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t reached;

static void fence_reached(uint64_t user_data, const struct rutabaga_fence* fence) {
    (void)user_data;
    pthread_mutex_lock(&mutex);
    if (fence->flags & RUTABAGA_FLAG_INFO_RING_IDX) reached = fence->fence_id;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

#define FUNCTIONS(X)           \
    X(init)                    \
    X(context_create)          \
    X(context_attach_resource) \
    X(resource_create_blob)    \
    X(resource_map) X(submit_command) X(create_fence) X(resource_create_3d) X(resource_unref)
#define DECLARE(name) static __typeof__(&rutabaga_##name) call_##name;
FUNCTIONS(DECLARE)

struct library_connection {
    struct connection connection;  // first
    struct rutabaga* gpu;
    uint64_t fence;
    uint32_t next_image;
};

static uint8_t query[PAGE] __attribute__((aligned(PAGE)));
static uint8_t ring[PAGE] __attribute__((aligned(PAGE)));

static void submit(struct rutabaga* gpu, const void* bytes, uint32_t size) {
    struct rutabaga_command command = {
        .ctx_id = CONTEXT, .cmd_size = size, .cmd = (void*)(uintptr_t)bytes};
    need(call_submit_command(gpu, &command) == 0, "submit %u bytes", size);
}

static void send_by_library(struct connection* connection, const void* data, uint32_t size,
                            const struct identifier* file) {
    uint8_t command[PAGE];
    submit(((struct library_connection*)connection)->gpu, command,
           make_send(command, data, size, file));
}

static struct received receive_by_library(struct connection* connection) {
    struct library_connection* const library = (struct library_connection*)connection;
    submit(library->gpu, poll_command, sizeof poll_command);
    const struct rutabaga_fence fence = {.flags = RUTABAGA_FLAG_FENCE | RUTABAGA_FLAG_INFO_RING_IDX,
                                         .fence_id = ++library->fence,
                                         .ctx_id = CONTEXT,
                                         .ring_idx = CHANNEL_RING};
    need(call_create_fence(library->gpu, &fence) == 0, "create a fence");
    pthread_mutex_lock(&mutex);
    while (reached != library->fence) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    return received_in(ring);
}

static void make_blob(struct rutabaga* gpu, uint32_t resource, uint32_t memory, uint64_t blob_id,
                      uint64_t size, uint8_t* guest) {
    const struct rutabaga_create_blob request = {memory, memory == 1 ? 1 : 3, blob_id, size};
    struct iovec part = {guest, size};
    const struct rutabaga_iovecs parts = {&part, guest ? 1 : 0};
    need(call_resource_create_blob(gpu, memory == 1 ? 0 : CONTEXT, resource, &request, &parts,
                                   NULL) == 0 &&
             call_context_attach_resource(gpu, CONTEXT, resource) == 0,
         "create blob %u", resource);
}

static uint8_t* allocate_by_library(struct connection* connection, uint32_t size,
                                    struct identifier* file) {
    struct library_connection* const library = (struct library_connection*)connection;
    const struct image_command ask = make_image(size);
    submit(library->gpu, &ask, sizeof ask);
    const struct image image = image_in(query, size);
    *file = (struct identifier){library->next_image++, IDENTIFIER_BLOB, 0};
    make_blob(library->gpu, file->id, 2, image.blob, image.size, NULL);
    struct rutabaga_mapping mapping;
    need(call_resource_map(library->gpu, file->id, &mapping) == 0, "map an image");
    return mapping.ptr;
}

static struct library_connection connect_by_library(const char* file, const char* path) {
    void* const loaded = dlopen(file, RTLD_NOW);
    need(loaded != NULL, "load %s", file);
#define FIND(name)                                            \
    *(void**)&call_##name = dlsym(loaded, "rutabaga_" #name); \
    need(call_##name != NULL, "rutabaga_" #name);
    FUNCTIONS(FIND)
    struct library_connection library = {
        {send_by_library, receive_by_library, allocate_by_library, read_pipe},
        NULL,
        0,
        FIRST_IMAGE};
    struct rutabaga_channel channel = {path, RUTABAGA_CHANNEL_TYPE_WAYLAND};
    struct rutabaga_channels channels = {&channel, 1};
    const struct rutabaga_builder builder = {.capset_mask = 1 << CROSS_DOMAIN_CAPSET,
                                             .wsi = RUTABAGA_WSI_SURFACELESS,
                                             .fence_cb = fence_reached,
                                             .channels = &channels};
    need(call_init(&builder, &library.gpu) == 0 &&
             call_context_create(library.gpu, CONTEXT, CROSS_DOMAIN_CAPSET, "bench", 5) == 0,
         "make an instance");
    make_blob(library.gpu, QUERY, 1, 0, PAGE, query);
    make_blob(library.gpu, RING, 1, 0, PAGE, ring);
    const struct init_command init = make_init(QUERY, RING);
    submit(library.gpu, &init, sizeof init);
    return library;
}

// Calls of the library a second, of the cheapest that does something: a resource made and gone.
static void measure_calls(struct rutabaga* gpu, uint32_t count) {
    const struct rutabaga_create_3d picture = {.target = 2,
                                               .format = 1,
                                               .bind = 2,
                                               .width = 1,
                                               .height = 1,
                                               .depth = 1,
                                               .array_size = 1,
                                               .flags = 1};
    const double start = now();
    for (uint32_t i = 0; i < count; ++i)
        need(call_resource_create_3d(gpu, 1000, &picture) == 0 &&
                 call_resource_unref(gpu, 1000) == 0,
             "make a resource");
    printf("SWEDE calls=%u per_second=%.0f\n", 2 * count, 2 * count / (now() - start));
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    need(argc > 3,
         "usage: wayland_rows direct|LIBRARY SOCKET sync|frames|paste-time|calls NUMBERS");
    uint32_t numbers[3] = {0};
    for (int i = 4; i < argc && i < 7; ++i) numbers[i - 4] = (uint32_t)strtoul(argv[i], NULL, 0);
    struct direct_connection direct;
    struct library_connection library;
    struct connection* connection;
    if (strcmp(argv[1], "direct") == 0) {
        direct = connect_directly(argv[2]);
        connection = &direct.connection;
    } else {
        library = connect_by_library(argv[1], argv[2]);
        connection = &library.connection;
        if (strcmp(argv[3], "calls") == 0) {
            measure_calls(library.gpu, numbers[0]);
            return 0;
        }
    }
    struct client client = connect_client(connection);
    need(measure(&client, argv[3], numbers[0], numbers[1], numbers[2]), "unknown word %s", argv[3]);
    return 0;
}
