// SPDX-License-Identifier: Apache-2.0
// A Wayland client's connection on the compositor's own socket. The includer defines _GNU_SOURCE,
// and need() before.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wayland_client.h"

struct direct_connection {
    struct connection connection;  // first
    int socket, pipe;              // pipe: -1: none
    uint8_t data[1 << 16];
};

static void send_directly(struct connection* connection, const void* data, uint32_t size,
                          const struct identifier* file) {
    struct iovec part = {(void*)(uintptr_t)data, size};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (file) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr* const head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(head), &file->id, sizeof(int));
    }
    const ssize_t sent =
        sendmsg(((struct direct_connection*)connection)->socket, &message, MSG_NOSIGNAL);
    need(sent == (ssize_t)size, "send %u bytes", size);
    if (file) close((int)file->id);
}

static struct received receive_directly(struct connection* connection) {
    struct direct_connection* const direct = (struct direct_connection*)connection;
    struct pollfd look[] = {{direct->socket, POLLIN, 0}, {direct->pipe, POLLIN, 0}};
    if (direct->pipe >= 0) need(poll(look, 2, -1) > 0, "wait for the socket and the pipe");
    if (look[1].revents == 0) {
        const ssize_t size = recv(direct->socket, direct->data, EVENT_BYTES, 0);
        return (struct received){.data = direct->data, .size = size > 0 ? (uint32_t)size : 0};
    }
    const ssize_t size = read(direct->pipe, direct->data, sizeof direct->data);
    need(size >= 0, "read a pipe");
    return (struct received){
        .data = direct->data, .size = (uint32_t)size, .of_pipe = 1, .hang_up = size == 0};
}

static struct identifier open_pipe_directly(struct connection* connection) {
    int ends[2];
    need(pipe2(ends, O_CLOEXEC) == 0, "make a pipe");
    ((struct direct_connection*)connection)->pipe = ends[0];
    return (struct identifier){.id = (uint32_t)ends[1]};
}

static uint8_t* allocate_directly(struct connection* connection, uint32_t size,
                                  struct identifier* file) {
    (void)connection;
    file->id = (uint32_t)memfd_create("pool", MFD_CLOEXEC);
    need(ftruncate((int)file->id, size) == 0, "size a pool");
    uint8_t* const memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, (int)file->id, 0);
    need(memory != MAP_FAILED, "map a pool");
    return memory;
}

static struct direct_connection connect_directly(const char* path) {
    struct direct_connection direct = {
        {send_directly, receive_directly, allocate_directly, open_pipe_directly}, -1, -1, {0}};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    direct.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(connect(direct.socket, (struct sockaddr*)&address, sizeof address) == 0, "connect to %s",
         path);
    return direct;
}
