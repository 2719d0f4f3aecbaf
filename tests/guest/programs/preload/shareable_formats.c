// SPDX-License-Identifier: Apache-2.0
// For LD_PRELOAD into a compositor that draws with GL: of the formats of dma-bufs that EGL can take
// it leaves those that Mesa's gfxstream driver can share. EGL names half-floats first, vkcube takes
// the first of its formats that it is offered, and the driver then fails to make the swap chain
// (Mesa 25.0.7, getVirglFormat() in ResourceTracker.cpp knows three orders of bytes).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

typedef unsigned (*query_formats)(void* display, int32_t room, int32_t* formats, int32_t* count);
typedef void (*any_function)(void);

static query_formats real_query;

#define FOURCC(a, b, c, d) \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

static int is_shareable(uint32_t format) {
    return format == FOURCC('X', 'R', '2', '4') || format == FOURCC('A', 'R', '2', '4') ||
           format == FOURCC('X', 'B', '2', '4') || format == FOURCC('A', 'B', '2', '4');
}

// eglQueryDmaBufFormatsEXT: without room it says how many there are.
static unsigned query(void* display, int32_t room, int32_t* formats, int32_t* count) {
    int32_t all[256];
    int32_t number = 0;
    if (!real_query(display, 256, all, &number)) return 0;
    *count = 0;
    for (int32_t i = 0; i < number; ++i) {
        if (!is_shareable((uint32_t)all[i])) continue;
        if (room > 0 && *count == room) break;
        if (room > 0) formats[*count] = all[i];
        ++*count;
    }
    return 1;
}

any_function eglGetProcAddress(const char* name) {
    static any_function (*real)(const char*);
    if (real == NULL) real = (any_function(*)(const char*))dlsym(RTLD_NEXT, "eglGetProcAddress");
    // libEGL comes with weston's module, behind the libraries that RTLD_NEXT looks through.
    if (real == NULL) {
        void* const library = dlopen("libEGL.so.1", RTLD_NOW | RTLD_GLOBAL);
        if (library != NULL)
            real = (any_function(*)(const char*))dlsym(library, "eglGetProcAddress");
    }
    if (real == NULL) return NULL;
    const any_function found = real(name);
    if (found == NULL || strcmp(name, "eglQueryDmaBufFormatsEXT") != 0) return found;
    real_query = (query_formats)found;
    return (any_function)query;
}
