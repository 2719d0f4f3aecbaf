// SPDX-License-Identifier: Apache-2.0
// A program as drivers and compositors are: libdrm, ioctls, mmap, PRIME, fork. Its first argument
// names a case; it prints "ok" and ends with 0, or says what it did not find.
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <xf86drm.h>

#include "cases.h"
#include "virtgpu.h"

enum { WAIT_NOT = 1 };

struct virtgpu_wait {
    uint32_t handle, flags;
};
struct virtgpu_resource_create {
    uint32_t target, format, bind, width, height, depth, array_size, last_level, nr_samples, flags;
    uint32_t handle, resource, size, stride;
};
// Mesa 26.2's, which is longer than Linux's.
struct virtgpu_create_blob_long {
    struct virtgpu_create_blob blob;
    uint32_t hints, padding;
};
// Linux before 5.17: without the ring.
struct virtgpu_execute_short {
    uint32_t flags, size;
    uint64_t command, handles;
    uint32_t handle_count;
    int32_t fence;
};
struct sync_merge {
    char name[32];
    int32_t fd2, fence;
    uint32_t flags, padding;
};
struct sync_info {
    char name[32];
    int32_t status;
    uint32_t flags, fence_count, padding;
    uint64_t fences;
};
struct sync_fence {
    char object[32], driver[32];
    int32_t status;
    uint32_t flags;
    uint64_t timestamp;
};
#define IOCTL_WAIT DRM_IOWR(DRM_COMMAND_BASE + 0x08, struct virtgpu_wait)
#define IOCTL_RESOURCE_CREATE DRM_IOWR(DRM_COMMAND_BASE + 0x04, struct virtgpu_resource_create)
#define IOCTL_CREATE_BLOB_LONG DRM_IOWR(DRM_COMMAND_BASE + 0x0a, struct virtgpu_create_blob_long)
#define IOCTL_EXECUTE_SHORT DRM_IOWR(DRM_COMMAND_BASE + 0x02, struct virtgpu_execute_short)
#define IOCTL_SYNC_MERGE _IOWR('>', 3, struct sync_merge)
#define IOCTL_SYNC_INFO _IOWR('>', 4, struct sync_info)

static int wait_on(int node, uint32_t handle, uint32_t flags) {
    struct virtgpu_wait wait = {handle, flags};
    return ioctl(node, IOCTL_WAIT, &wait);
}

// A submission that names buffers and makes no file.
static void execute_on(int node, uint32_t handle, uint32_t ring,
                       struct swede_test_command command) {
    command.size = sizeof command;
    struct virtgpu_execute execute = {.flags = EXECUTE_RING,
                                      .size = sizeof command,
                                      .command = (uintptr_t)&command,
                                      .handles = (uintptr_t)&handle,
                                      .handle_count = 1,
                                      .fence = -1,
                                      .ring = ring};
    need(ioctl(node, IOCTL_EXECUTE, &execute) == 0, "execute %u", command.operation);
}

static struct virtgpu_resource_create make_3d(int node) {
    struct virtgpu_resource_create create = {.target = 2,
                                             .format = 1,
                                             .bind = 2,
                                             .width = 64,
                                             .height = 64,
                                             .depth = 1,
                                             .array_size = 1,
                                             .size = 16384,
                                             .stride = 256};
    need(ioctl(node, IOCTL_RESOURCE_CREATE, &create) == 0, "resource_create");
    return create;
}

static volatile uint32_t* map(int node, uint32_t handle, size_t size) {
    struct virtgpu_map place = {.handle = handle};
    need(ioctl(node, IOCTL_MAP, &place) == 0, "map");
    void* const memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, node, (off_t)place.offset);
    need(memory != MAP_FAILED, "mmap");
    return memory;
}

// --- the device as libdrm finds it ---

static int check_devices(void) {
    drmDevicePtr devices[4];
    need(drmGetDevices2(DRM_DEVICE_GET_PCI_REVISION, devices, 4) == 1, "one device");
    const drmDevicePtr found = devices[0];
    need(found->bustype == DRM_BUS_PCI, "a PCI device");
    need(found->available_nodes == (1 << DRM_NODE_PRIMARY | 1 << DRM_NODE_RENDER), "two nodes");
    need(strcmp(found->nodes[DRM_NODE_RENDER], "/dev/dri/renderD128") == 0, "the render node");
    need(strcmp(found->nodes[DRM_NODE_PRIMARY], "/dev/dri/card0") == 0, "the primary node");
    need(found->deviceinfo.pci->vendor_id == 0x1af4 && found->deviceinfo.pci->device_id == 0x1050,
         "virtio-gpu's ids");

    const int node = open(found->nodes[DRM_NODE_RENDER], O_RDWR | O_CLOEXEC);
    need(node >= 0, "open");
    const drmVersionPtr version = drmGetVersion(node);
    need(version && strcmp(version->name, "virtio_gpu") == 0 && version->version_major == 0,
         "the driver's name");
    drmFreeVersion(version);
    need(drmGetNodeTypeFromFd(node) == DRM_NODE_RENDER, "a render node");
    need(strcmp(drmGetDeviceNameFromFd2(node), "/dev/dri/renderD128") == 0, "its name");
    need(strcmp(drmGetPrimaryDeviceNameFromFd(node), "/dev/dri/card0") == 0, "its sibling");
    drmDevicePtr again;
    need(drmGetDevice2(node, 0, &again) == 0 && drmDevicesEqual(again, found), "the same device");
    need(drmGetDeviceFromDevId(makedev(226, 128), 0, &again) == 0, "the device by its number");
    need(drmGetDeviceFromDevId(makedev(226, 129), 0, &again) != 0, "no device by another number");

    uint64_t value = 7;
    need(drmGetCap(node, DRM_CAP_PRIME, &value) == 0 && value == 3, "PRIME both ways");
    need(drmGetCap(node, DRM_CAP_SYNCOBJ, &value) == 0 && value == 0, "no sync objects");
    need(drmGetCap(node, DRM_CAP_DUMB_BUFFER, &value) == 0 && value == 0, "no dumb buffers");
    need(drmGetCap(node, 0x7777, &value) != 0 && errno == EINVAL, "no unknown capability");
    uint32_t object;
    need(drmSyncobjCreate(node, 0, &object) != 0 && errno == EOPNOTSUPP, "no sync object");
    need(ioctl(node, DRM_IOCTL_MODE_GETRESOURCES, NULL) != 0 && errno == EOPNOTSUPP, "no outputs");
    need(ioctl(node, DRM_IO(0x9f)) != 0 && errno == EINVAL, "no unknown ioctl");
    return 0;
}

static int check_files(void) {
    struct stat status;
    need(stat("/dev/dri/renderD128", &status) == 0 && S_ISCHR(status.st_mode), "a node");
    need(status.st_rdev == makedev(226, 128), "its number");
    need(lstat("/dev//dri/./renderD128", &status) == 0 && S_ISCHR(status.st_mode), "its long name");
    need(stat("/dev/dri/renderD129", &status) != 0 && errno == ENOENT, "no other node");
    need(stat("/dev/dri", &status) == 0 && S_ISDIR(status.st_mode), "its folder");
    need(access("/dev/dri/card0", R_OK | W_OK) == 0, "access");
    need(access("/dev/dri/card0", X_OK) != 0, "no execution");
    need(stat("/dev/null", &status) == 0 && status.st_rdev == makedev(1, 3), "/dev/null");

    DIR* const folder = opendir("/dev/dri");
    need(folder != NULL, "opendir");
    int names = 0;
    for (const struct dirent* entry; (entry = readdir(folder));)
        names += entry->d_type == DT_CHR && strlen(entry->d_name) >= 5;
    need(names == 2, "two names, not %d", names);
    rewinddir(folder);
    need(strcmp(readdir(folder)->d_name, ".") == 0, "the first again");
    need(closedir(folder) == 0, "closedir");
    need(opendir("/dev/dri/card0") == NULL && errno == ENOTDIR, "a node is no folder");

    char text[256] = "";
    FILE* const file = fopen("/sys/dev/char/226:128/device/vendor", "r");
    need(file && fgets(text, sizeof text, file) && strcmp(text, "0x1af4\n") == 0, "the vendor");
    fclose(file);
    need(fopen("/sys/dev/char/226:128/device/vendor", "w") == NULL, "no writing");
    need(fopen("/sys/dev/char/226:128/device/none", "r") == NULL && errno == ENOENT, "no file");
    const ssize_t length =
        readlink("/sys/dev/char/226:128/device/subsystem", text, sizeof text - 1);
    need(length == 12 && memcmp(text, "/sys/bus/pci", 12) == 0, "the bus");
    char* const real = realpath("/sys/class/drm/renderD128/device", NULL);
    need(real && strstr(real, "/sys/devices/pci5357:00/") == real, "the device's folder");
    need(realpath("/sys/dev/char/226:129", NULL) == NULL && errno == ENOENT, "no other folder");
    free(real);

    const int node = open_node();
    const int twin = fcntl(node, F_DUPFD_CLOEXEC, 100);
    need(fstat(twin, &status) == 0 && S_ISCHR(status.st_mode), "a duplicate is a node");
    close(node);
    need(get_param(twin, PARAM_3D) == 1, "a duplicate works alone");
    const int other = dup2(open("/dev/null", O_RDONLY), node);
    need(fstat(other, &status) == 0 && status.st_rdev == makedev(1, 3), "a number used again");
    int value = 0;
    struct virtgpu_getparam ask = {.param = PARAM_3D, .value = (uintptr_t)&value};
    need(ioctl(other, IOCTL_GETPARAM, &ask) != 0 && errno == ENOTTY, "no ioctl of ours there");
    return 0;
}

// --- buffers ---

static int check_buffers(void) {
    const int node = open_context();
    struct blob blob = make_blob(node, 8192, 1);
    run(node, (struct swede_test_command){SWEDE_TEST_FILL, 0, blob.resource, 40, 0, 4}, "fill");
    need(blob.words[0] == 40 && blob.words[3] == 43, "the renderer's words");
    struct virtgpu_resource_info info = {.handle = blob.handle};
    need(ioctl(node, IOCTL_RESOURCE_INFO, &info) == 0, "resource_info");
    need(info.size == 8192 && info.blob_memory == BLOB_HOST3D && info.resource == blob.resource,
         "info");

    // A part of it, and what lies outside.
    struct virtgpu_map place = {.handle = blob.handle};
    need(ioctl(node, IOCTL_MAP, &place) == 0, "map");
    const off_t start = (off_t)place.offset;
    volatile uint32_t* const part = mmap(NULL, 4096, PROT_READ, MAP_SHARED, node, start + 4096);
    need(part != MAP_FAILED, "mmap of the second page");
    blob.words[1024] = 77;
    need(part[0] == 77, "the same memory");
    need(mmap(NULL, 12288, PROT_READ, MAP_SHARED, node, start) == MAP_FAILED, "no more than it");
    need(mmap(NULL, 4096, PROT_READ, MAP_SHARED, node, start + 8192) == MAP_FAILED, "not behind");
    need(mmap(NULL, 4096, PROT_READ, MAP_SHARED, node, 0) == MAP_FAILED, "not at 0");
    need(mmap(NULL, 4096, PROT_READ, MAP_SHARED, node, start + 1) == MAP_FAILED, "not askew");
    drop_blob(node, &blob);
    need(mmap(NULL, 4096, PROT_READ, MAP_SHARED, node, start) == MAP_FAILED, "not when closed");
    struct drm_gem_close done = {.handle = blob.handle};
    need(ioctl(node, DRM_IOCTL_GEM_CLOSE, &done) != 0 && errno == EINVAL, "closed once");
    need(wait_on(node, blob.handle, 0) != 0 && errno == ENOENT, "no wait for it");
    need(part[0] == 77, "memory that is mapped stays");

    struct virtgpu_create_blob_long longer = {
        .blob = {.memory = BLOB_HOST3D, .flags = BLOB_MAPPABLE, .size = 4096, .blob_id = 2}};
    need(ioctl(node, IOCTL_CREATE_BLOB_LONG, &longer) == 0 && longer.blob.handle != 0,
         "create_blob in Mesa 26.2's length");
    struct virtgpu_execute_short shorter = {.fence = -1};
    need(ioctl(node, IOCTL_EXECUTE_SHORT, &shorter) == 0, "execute in its first length");
    struct virtgpu_create_blob none = {.memory = BLOB_HOST3D, .blob_id = 1};
    need(ioctl(node, IOCTL_CREATE_BLOB, &none) != 0 && errno == EINVAL, "no blob of no bytes");
    none.size = 1ull << 40;
    need(ioctl(node, IOCTL_CREATE_BLOB, &none) != 0 && errno == ENOMEM, "no endless blob");
    struct virtgpu_context_init twice = {0};
    need(ioctl(node, IOCTL_CONTEXT_INIT, &twice) != 0, "no second context");
    return 0;
}

// --- waiting, from many threads ---

struct waiter {
    int node;
    uint32_t handle;
    int result, error;
};

static void* wait_in_thread(void* argument) {
    struct waiter* const waiter = argument;
    waiter->result = wait_on(waiter->node, waiter->handle, 0);
    waiter->error = errno;
    return NULL;
}

static void* make_in_thread(void* argument) {
    const int node = *(int*)argument;
    for (int i = 0; i < 50; ++i) {
        struct blob blob = make_blob(node, 4096, 1);
        run(node, (struct swede_test_command){SWEDE_TEST_FILL, 0, blob.resource, 5, 0, 1}, "fill");
        need(blob.words[0] == 5, "the word of a thread");
        drop_blob(node, &blob);
    }
    return NULL;
}

static int check_threads(void) {
    const int node = open_context();
    struct blob blob = make_blob(node, 4096, 0);
    execute_on(node, blob.handle, 1,
               (struct swede_test_command){.operation = SWEDE_TEST_DELAY, .value = 1500});
    need(wait_on(node, blob.handle, WAIT_NOT) != 0 && errno == EBUSY, "a busy buffer");
    pthread_t threads[8];
    struct waiter waiters[4];
    for (int i = 0; i < 4; ++i) {
        waiters[i] = (struct waiter){node, blob.handle, 1, 0};
        pthread_create(&threads[i], NULL, wait_in_thread, &waiters[i]);
    }
    int shared = node;
    for (int i = 4; i < 8; ++i) pthread_create(&threads[i], NULL, make_in_thread, &shared);
    for (int i = 4; i < 8; ++i) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; ++i) {
        pthread_join(threads[i], NULL);
        need(waiters[i].result == 0, "wait in thread %d", i);
    }
    need(wait_on(node, blob.handle, WAIT_NOT) == 0, "an idle buffer");
    return 0;
}

// --- fences ---

static int status_of(int fence) {
    struct sync_fence one;
    struct sync_info info = {.fence_count = 1, .fences = (uintptr_t)&one};
    need(ioctl(fence, IOCTL_SYNC_INFO, &info) == 0 && info.fence_count == 1, "file_info");
    need(one.status == info.status && strcmp(one.driver, "virtio_gpu") == 0, "its fence");
    return info.status;
}

static int merged(int a, int b) {
    struct sync_merge merge = {.name = "both", .fd2 = b};
    need(ioctl(a, IOCTL_SYNC_MERGE, &merge) == 0, "merge");
    return merge.fence;
}

static int check_fences(void) {
    const int node = open_context();
    const struct swede_test_command quick = {.operation = SWEDE_TEST_DELAY, .value = 0};
    const int stalled =
        submit(node, 1, (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    const int late =
        submit(node, 2, (struct swede_test_command){.operation = SWEDE_TEST_DELAY, .value = 300});
    const int later =
        submit(node, 3, (struct swede_test_command){.operation = SWEDE_TEST_DELAY, .value = 600});
    const int done = submit(node, 4, quick);
    const int both = merged(late, later);
    need(!is_reached(stalled) && status_of(stalled) == 0, "a stalled fence");
    wait_for(done, "a quick command");
    wait_for(dup(late), "a late one");
    need(status_of(late) == 1, "a reached fence");
    wait_for(dup(both), "two late ones");
    need(is_reached(late) && is_reached(later), "both");
    need(is_reached(merged(late, later)) && !is_reached(merged(late, stalled)), "more merges");

    // A submission waits for a fence of another ring, on this side.
    const int before =
        submit(node, 5, (struct swede_test_command){.operation = SWEDE_TEST_DELAY, .value = 300});
    struct virtgpu_execute execute = {
        .flags = 1 | EXECUTE_FENCE_OUT | EXECUTE_RING, .fence = dup(before), .ring = 6};
    need(ioctl(node, IOCTL_EXECUTE, &execute) == 0 && is_reached(before), "a fence to wait for");
    wait_for(execute.fence, "what came after it");
    execute = (struct virtgpu_execute){.flags = 1, .fence = 999};
    need(ioctl(node, IOCTL_EXECUTE, &execute) != 0 && errno == EINVAL, "no such fence");
    struct sync_merge merge = {.fd2 = node + 500};
    need(ioctl(late, IOCTL_SYNC_MERGE, &merge) != 0, "no merge with nothing");
    const int null = open("/dev/null", O_RDWR);
    struct sync_info info = {0};
    need(ioctl(null, IOCTL_SYNC_INFO, &info) != 0 && errno == ENOTTY, "no fence in /dev/null");
    return 0;
}

// --- PRIME ---

static void send_file(int socket, int fd) {
    char byte = 'f';
    struct iovec part = {&byte, 1};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr* const c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    need(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

static int receive_file(int socket) {
    char byte;
    struct iovec part = {&byte, 1};
    int fd = -1;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)];
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    need(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

static int child_passed(pid_t child) {
    int status = 1;
    need(waitpid(child, &status, 0) == child, "waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The compositor: takes the other program's buffer, and draws into it.
static int import_and_draw(int socket) {
    const int node = open_context();
    const int fd = receive_file(socket);
    need(lseek(fd, 0, SEEK_END) == 16384, "the buffer's size");
    uint32_t handle = 0;
    uint32_t again = 0;
    need(drmPrimeFDToHandle(node, fd, &handle) == 0, "import");
    need(drmPrimeFDToHandle(node, fd, &again) == 0 && again == handle, "import once more");
    struct virtgpu_resource_info info = {.handle = handle};
    need(ioctl(node, IOCTL_RESOURCE_INFO, &info) == 0 && info.blob_memory == 0,
         "info of the import");
    run(node, (struct swede_test_command){SWEDE_TEST_FILL, 0, info.resource, 1000, 0, 16}, "fill");
    need(map(node, handle, 16384)[15] == 1015, "the import's memory");
    need(write(socket, "d", 1) == 1, "tell");
    return 0;
}

static int check_prime(void) {
    int sockets[2];
    need(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
    const pid_t child = fork();
    if (child == 0) _exit(import_and_draw(sockets[1]));
    const int node = open_context();
    const struct virtgpu_resource_create buffer = make_3d(node);
    volatile uint32_t* const words = map(node, buffer.handle, 16384);
    int fd = -1;
    need(drmPrimeHandleToFD(node, buffer.handle, DRM_CLOEXEC | DRM_RDWR, &fd) == 0, "export");
    need(fcntl(fd, F_GETFD) == FD_CLOEXEC, "closed by exec");
    uint64_t sync = 3;
    need(ioctl(fd, _IOW('b', 0, uint64_t), &sync) == 0, "DMA_BUF_IOCTL_SYNC");
    uint32_t handle = 0;
    need(drmPrimeFDToHandle(node, fd, &handle) == 0 && handle == buffer.handle, "its own handle");
    send_file(sockets[0], fd);
    char byte;
    need(read(sockets[0], &byte, 1) == 1 && byte == 'd', "the other program draws");
    need(words[0] == 1000 && words[15] == 1015, "what it drew");
    need(child_passed(child), "the other program");

    need(drmPrimeHandleToFD(node, buffer.handle, 0, &fd) == 0, "export again");
    need(fcntl(fd, F_GETFD) == 0, "kept by exec");
    need(drmPrimeHandleToFD(node, 999, 0, &fd) != 0 && errno == ENOENT, "no such buffer");
    need(drmPrimeHandleToFD(node, buffer.handle, 0x7000, &fd) != 0 && errno == EINVAL, "no flags");
    need(drmPrimeFDToHandle(node, open("/dev/null", O_RDWR), &handle) != 0 && errno == EINVAL,
         "/dev/null is no buffer");
    need(drmPrimeFDToHandle(node, 999, &handle) != 0 && errno == EBADF, "no file");
    return 0;
}

// --- fork ---

static int check_fork(void) {
    const int node = open_context();
    struct blob blob = make_blob(node, 4096, 1);
    const pid_t child = fork();
    if (child == 0) {
        // The file is inherited, what was made through it is not.
        need(get_param(node, PARAM_3D) == 1, "the child's own connection");
        need(wait_on(node, blob.handle, 0) != 0 && errno == ENOENT, "no handle of the parent's");
        struct virtgpu_context_param params[] = {{CONTEXT_CAPSET, SWEDE_TEST_CAPSET_ID},
                                                 {CONTEXT_RINGS, 2}};
        struct virtgpu_context_init init = {.count = 2, .params = (uintptr_t)params};
        need(ioctl(node, IOCTL_CONTEXT_INIT, &init) == 0, "the child's context");
        struct blob own = make_blob(node, 4096, 1);
        run(node, (struct swede_test_command){SWEDE_TEST_FILL, 0, own.resource, 9, 0, 1}, "fill");
        need(own.words[0] == 9, "the child's blob");
        blob.words[1] = 11;  // memory is shared
        _exit(0);
    }
    need(child_passed(child), "the child");
    need(blob.words[1] == 11, "the child's word");
    run(node, (struct swede_test_command){SWEDE_TEST_ADD, 0, blob.resource, 1, 4, 0}, "add");
    need(blob.words[1] == 12, "the parent goes on");

    for (int i = 0; i < 20; ++i) {
        const pid_t quick = fork();
        if (quick == 0) {
            close(node);
            execl("/bin/true", "true", (char*)NULL);
            _exit(1);
        }
        need(child_passed(quick), "a child that executes");
    }
    run(node, (struct swede_test_command){SWEDE_TEST_ADD, 0, blob.resource, 1, 4, 0}, "add");
    need(blob.words[1] == 13, "the parent still goes on");
    return 0;
}

static int check_many_opens(void) {
    for (int i = 0; i < 300; ++i) {
        const int node = open_node();
        need(get_param(node, PARAM_3D) == 1, "open %d", i);
        close(node);
    }
    int nodes[20];
    for (int i = 0; i < 20; ++i) nodes[i] = open_context();
    for (int i = 0; i < 20; ++i) {
        struct blob blob = make_blob(nodes[i], 4096, 1);
        need(blob.resource == 1, "ids of its own");
        close(nodes[i]);
    }
    return 0;
}

// --- a lost context ---

// The renderer dies: everybody who waits hears of it, nothing works on that file any more, and the
// next open does.
static int check_lost(void) {
    const int node = open_context();
    struct blob blob = make_blob(node, 4096, 1);
    const int fence =
        submit(node, 1, (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    execute_on(node, blob.handle, 1,
               (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    struct waiter waiters[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; ++i) {
        waiters[i] = (struct waiter){node, blob.handle, 1, 0};
        pthread_create(&threads[i], NULL, wait_in_thread, &waiters[i]);
    }
    struct swede_test_command crash = {.operation = SWEDE_TEST_CRASH, .size = sizeof crash};
    struct virtgpu_execute execute = {
        .size = sizeof crash, .command = (uintptr_t)&crash, .fence = -1};
    need(ioctl(node, IOCTL_EXECUTE, &execute) == 0, "execute");
    for (int i = 0; i < 3; ++i) {
        pthread_join(threads[i], NULL);
        need(waiters[i].result != 0 && waiters[i].error == EIO, "wait %d ends with EIO", i);
    }
    wait_for(fence, "the lost context");
    need(ioctl(node, IOCTL_EXECUTE, &execute) != 0 && errno == EIO, "no more commands");
    struct virtgpu_create_blob create = {.memory = BLOB_HOST3D, .size = 4096, .blob_id = 1};
    need(ioctl(node, IOCTL_CREATE_BLOB, &create) != 0 && errno == EIO, "no more buffers");
    blob.words[0] = 1;  // memory stays
    drop_blob(node, &blob);
    const int next = open_context();
    struct blob fresh = make_blob(next, 4096, 1);
    run(next, (struct swede_test_command){SWEDE_TEST_FILL, 0, fresh.resource, 3, 0, 1}, "fill");
    need(fresh.words[0] == 3, "the next context");
    return 0;
}

// Waits for what never comes, until the device is gone.
static int check_hang(void) {
    const int node = open_context();
    struct blob blob = make_blob(node, 4096, 0);
    const int fence =
        submit(node, 1, (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    execute_on(node, blob.handle, 1,
               (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    printf("waiting\n");
    need(wait_on(node, blob.handle, 0) != 0 && errno == EIO, "the end of the wait");
    wait_for(fence, "the device that is gone");
    return 0;
}

static const struct test_case cases[] = {
    {"devices", check_devices}, {"files", check_files},      {"buffers", check_buffers},
    {"threads", check_threads}, {"fences", check_fences},    {"prime", check_prime},
    {"fork", check_fork},       {"opens", check_many_opens}, {"lost", check_lost},
    {"hang", check_hang},
};

int main(int argc, char** argv) {
    return run_case(cases, sizeof cases / sizeof cases[0], argc, argv);
}
