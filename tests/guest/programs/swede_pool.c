// SPDX-License-Identifier: Apache-2.0
// A window whose wl_shm pool is a dma-buf that udmabuf makes of a part of a memory file, as
// cross-domain's are at a door with a static window; on a compositor of this machine:
//   swede_pool SOCKET WIDTH HEIGHT SEED    stays until killed
#define _GNU_SOURCE
#include <linux/udmabuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "pattern.h"
#include "wayland_socket.h"

enum { BEFORE = 1 << 20 };  // where the pool begins in the file

static uint8_t* allocate_by_udmabuf(struct connection* connection, uint32_t size,
                                    struct identifier* file) {
    (void)connection;
    const uint32_t pages = (size + 4095) & ~4095u;
    const int window = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    need(ftruncate(window, BEFORE + pages) == 0 &&
             fcntl(window, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0,
         "make a window");
    const int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
    need(device >= 0, "open /dev/udmabuf");
    struct udmabuf_create create = {(uint32_t)window, UDMABUF_FLAGS_CLOEXEC, BEFORE, pages};
    const int made = ioctl(device, UDMABUF_CREATE, &create);
    need(made >= 0, "make a dma-buf of %u bytes", pages);
    file->id = (uint32_t)made;
    uint8_t* const memory = mmap(NULL, pages, PROT_READ | PROT_WRITE, MAP_SHARED, window, BEFORE);
    need(memory != MAP_FAILED, "map the window");
    return memory;
}

int main(int argc, char** argv) {
    need(argc == 5, "usage: swede_pool SOCKET WIDTH HEIGHT SEED");
    setvbuf(stdout, NULL, _IOLBF, 0);
    const uint32_t width = (uint32_t)atoi(argv[2]);
    const uint32_t height = (uint32_t)atoi(argv[3]);
    const uint32_t seed = (uint32_t)atoi(argv[4]);
    struct direct_connection direct = connect_directly(argv[1]);
    direct.connection.allocate = allocate_by_udmabuf;
    struct client client = connect_client(&direct.connection);
    struct window window = open_window(&client, width, height);
    for (uint32_t y = 0; y < height; ++y)
        for (uint32_t x = 0; x < width; ++x)
            window.pixels[y * width + x] = pattern(seed, x, y) & 0xffffff;
    show_window(&client, &window);
    printf("SWEDE ready=1\n");
    while (!client.ended) read_events(&client);
    return 0;
}
