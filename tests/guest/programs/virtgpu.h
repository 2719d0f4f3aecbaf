// SPDX-License-Identifier: Apache-2.0
// Linux's virtio-gpu driver without any library, for the small programs that run in a guest:
// contexts of the test renderer, host blobs, submissions with fences. Each failure ends the
// program.
#pragma once

#include <drm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "need.h"
#include "test_renderer_commands.h"

// Linux, include/uapi/drm/virtgpu_drm.h. Debian 12's libdrm has only its first half, so what is
// used here is written down once more.
enum {
    PARAM_3D = 1,
    PARAM_BLOB = 3,
    PARAM_HOST_VISIBLE = 4,
    PARAM_CONTEXT_INIT = 6,
    PARAM_CAPSETS = 7
};
enum { BLOB_HOST3D = 2, BLOB_MAPPABLE = 1 };
enum { EXECUTE_FENCE_OUT = 2, EXECUTE_RING = 4 };
enum { CONTEXT_CAPSET = 1, CONTEXT_RINGS = 2 };

struct virtgpu_map {
    uint64_t offset;
    uint32_t handle, padding;
};
struct virtgpu_execute {
    uint32_t flags, size;
    uint64_t command, handles;
    uint32_t handle_count;
    int32_t fence;
    uint32_t ring, padding;
};
struct virtgpu_getparam {
    uint64_t param, value;
};
struct virtgpu_get_caps {
    uint32_t capset, version;
    uint64_t address;
    uint32_t size, padding;
};
struct virtgpu_create_blob {
    uint32_t memory, flags, handle, resource;
    uint64_t size;
    uint32_t padding, command_size;
    uint64_t command, blob_id;
};
struct virtgpu_resource_info {
    uint32_t handle, resource, size, blob_memory;
};
struct virtgpu_context_param {
    uint64_t param, value;
};
struct virtgpu_context_init {
    uint32_t count, padding;
    uint64_t params;
};
#define IOCTL_MAP DRM_IOWR(DRM_COMMAND_BASE + 0x01, struct virtgpu_map)
#define IOCTL_EXECUTE DRM_IOWR(DRM_COMMAND_BASE + 0x02, struct virtgpu_execute)
#define IOCTL_GETPARAM DRM_IOWR(DRM_COMMAND_BASE + 0x03, struct virtgpu_getparam)
#define IOCTL_RESOURCE_INFO DRM_IOWR(DRM_COMMAND_BASE + 0x05, struct virtgpu_resource_info)
#define IOCTL_GET_CAPS DRM_IOWR(DRM_COMMAND_BASE + 0x09, struct virtgpu_get_caps)
#define IOCTL_CREATE_BLOB DRM_IOWR(DRM_COMMAND_BASE + 0x0a, struct virtgpu_create_blob)
#define IOCTL_CONTEXT_INIT DRM_IOWR(DRM_COMMAND_BASE + 0x0b, struct virtgpu_context_init)

enum { FENCE_PATIENCE_MS = 60000 };

__attribute__((unused)) static int open_node(void) {
    const int node = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC);
    need(node >= 0, "open /dev/dri/renderD128");
    return node;
}

// 0 when the driver does not know the parameter.
__attribute__((unused)) static int get_param(int node, uint64_t param) {
    int value = 0;
    struct virtgpu_getparam ask = {.param = param, .value = (uintptr_t)&value};
    return ioctl(node, IOCTL_GETPARAM, &ask) ? 0 : value;
}

// A context of the test renderer: one for each open file.
__attribute__((unused)) static int open_context(void) {
    const int node = open_node();
    struct virtgpu_context_param params[] = {{CONTEXT_CAPSET, SWEDE_TEST_CAPSET_ID},
                                             {CONTEXT_RINGS, SWEDE_TEST_MAX_RINGS}};
    struct virtgpu_context_init init = {.count = 2, .params = (uintptr_t)params};
    need(ioctl(node, IOCTL_CONTEXT_INIT, &init) == 0, "context_init");
    return node;
}

// Submits one command to the ring; a file that is readable once its fence is reached.
__attribute__((unused)) static int submit(int node, uint32_t ring,
                                          struct swede_test_command command) {
    command.size = sizeof command;
    struct virtgpu_execute execute = {.flags = EXECUTE_FENCE_OUT | EXECUTE_RING,
                                      .size = sizeof command,
                                      .command = (uintptr_t)&command,
                                      .fence = -1,
                                      .ring = ring};
    need(ioctl(node, IOCTL_EXECUTE, &execute) == 0, "execute %u on ring %u", command.operation,
         ring);
    return execute.fence;
}

__attribute__((unused)) static int is_reached(int fence) {
    struct pollfd wait = {.fd = fence, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

// Waits for the fence and closes it.
__attribute__((unused)) static void wait_for(int fence, const char* what) {
    struct pollfd wait = {.fd = fence, .events = POLLIN};
    need(poll(&wait, 1, FENCE_PATIENCE_MS) == 1, "the fence of %s is not reached", what);
    close(fence);
}

__attribute__((unused)) static void run(int node, struct swede_test_command command,
                                        const char* what) {
    wait_for(submit(node, 0, command), what);
}

struct blob {
    uint32_t handle, resource;
    uint64_t size;
    volatile uint32_t* words;
};

// A host blob in the host-visible window; words stay null without map.
__attribute__((unused)) static struct blob make_blob(int node, uint64_t size, int map) {
    struct virtgpu_create_blob create = {
        .memory = BLOB_HOST3D, .flags = BLOB_MAPPABLE, .size = size, .blob_id = 1};
    need(ioctl(node, IOCTL_CREATE_BLOB, &create) == 0, "create_blob of %llu bytes",
         (unsigned long long)size);
    struct blob blob = {create.handle, create.resource, size, NULL};
    if (!map) return blob;
    struct virtgpu_map place = {.handle = create.handle};
    need(ioctl(node, IOCTL_MAP, &place) == 0, "map of resource %u", create.resource);
    void* const memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, node, (off_t)place.offset);
    need(memory != MAP_FAILED, "mmap of resource %u", create.resource);
    blob.words = memory;
    return blob;
}

__attribute__((unused)) static void drop_blob(int node, struct blob* blob) {
    if (blob->words) need(munmap((void*)blob->words, blob->size) == 0, "munmap");
    struct drm_gem_close done = {.handle = blob->handle};
    need(ioctl(node, DRM_IOCTL_GEM_CLOSE, &done) == 0, "gem_close");
    blob->words = NULL;
}
