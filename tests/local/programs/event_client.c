// SPDX-License-Identifier: Apache-2.0
// A program that reads the events of its fences from the open node, as proxies of cross-domain do.
// Its first argument names a case; it prints "ok" and ends with 0, or says what it did not find.
#include <sys/epoll.h>
#include <sys/wait.h>

#include "cases.h"
#include "cross_domain.h"

enum { RING = 1, QUIET_RING = 2, EVENT_SIZE = 8, MANY = 700 };

static int try_context(int node, uint32_t rings, uint64_t polled) {
    struct virtgpu_context_param params[] = {{CONTEXT_CAPSET, SWEDE_TEST_CAPSET_ID},
                                             {CONTEXT_POLL_RINGS, polled},
                                             {CONTEXT_RINGS, rings}};
    struct virtgpu_context_init init = {.count = 3, .params = (uintptr_t)params};
    return ioctl(node, IOCTL_CONTEXT_INIT, &init) == 0 ? 0 : errno;
}

static int open_polled(int flags) {
    const int node = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC | flags);
    need(node >= 0 && try_context(node, SWEDE_TEST_MAX_RINGS, 1 << RING) == 0, "a polled ring");
    return node;
}

static void submit_to(int node, uint32_t ring, uint32_t operation, uint64_t value) {
    const struct swede_test_command command = {
        .operation = operation, .size = sizeof command, .value = value};
    execute(node, &command, sizeof command, EXECUTE_RING, ring, NULL);
}

static int is_readable(int file, int patience) {
    struct pollfd look = {file, POLLIN, 0};
    return poll(&look, 1, patience) == 1 && (look.revents & POLLIN) != 0;
}

static void read_events_of(int node, uint32_t count) {
    uint32_t words[2 * MANY] = {0};
    for (size_t size = 0; size < count * EVENT_SIZE;) {
        const ssize_t got = read(node, (char*)words + size, count * EVENT_SIZE - size);
        need(got > 0, "an event of %u", count);
        size += (size_t)got;
    }
    for (uint32_t i = 0; i < count; ++i)
        need(words[2 * i] == 0x90000000 && words[2 * i + 1] == EVENT_SIZE, "event %u", i);
}

static int check_events(void) {
    const int node = open_polled(0);
    need(!is_readable(node, 0), "nothing to read");
    submit_to(node, RING, SWEDE_TEST_DELAY, 50);
    read_events_of(node, 1);
    submit_to(node, QUIET_RING, SWEDE_TEST_DELAY, 0);
    submit_to(node, RING, SWEDE_TEST_DELAY, 0);
    submit_to(node, RING, SWEDE_TEST_DELAY, 0);
    read_events_of(node, 2);
    need(!is_readable(node, 0), "no event of the quiet ring");
    // With a file as well.
    wait_for(submit(node, RING, (struct swede_test_command){.operation = SWEDE_TEST_DELAY}), "one");
    read_events_of(node, 1);
    // By epoll, and by a duplicate.
    const int twin = dup(node);
    const int waiting = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    need(epoll_ctl(waiting, EPOLL_CTL_ADD, twin, &event) == 0, "epoll_ctl");
    submit_to(node, RING, SWEDE_TEST_DELAY, 20);
    need(epoll_wait(waiting, &event, 1, FENCE_PATIENCE_MS) == 1 && event.events == EPOLLIN,
         "epoll");
    read_events_of(twin, 1);
    return 0;
}

static int check_many(void) {
    const int node = open_polled(0);
    for (int i = 0; i < MANY; ++i) submit_to(node, RING, SWEDE_TEST_DELAY, 0);
    read_events_of(node, MANY);
    need(!is_readable(node, 0), "no more");
    return 0;
}

static int check_nonblocking(void) {
    const int node = open_polled(O_NONBLOCK);
    uint32_t event[2];
    need(read(node, event, sizeof event) < 0 && errno == EAGAIN, "nothing yet");
    submit_to(node, RING, SWEDE_TEST_DELAY, 20);
    need(is_readable(node, FENCE_PATIENCE_MS), "an event");
    read_events_of(node, 1);
    need(read(node, event, sizeof event) < 0 && errno == EAGAIN, "nothing more");
    return 0;
}

static int check_refused(void) {
    const int node = open_node();
    need(try_context(node, 2, 4) == EINVAL, "a ring that there is not");
    need(try_context(node, 0, 1) == EINVAL, "no rings");
    need(try_context(node, 65, 1) == EINVAL, "too many rings");
    need(try_context(node, 64, ~0ull) == 0, "all rings");
    submit_to(node, 63, SWEDE_TEST_DELAY, 0);
    read_events_of(node, 1);
    const int other = open_node();
    const pid_t child = fork();
    if (child == 0) _exit(try_context(other, 2, 2) == EOPNOTSUPP ? 0 : 1);
    int status = 0;
    need(waitpid(child, &status, 0) == child && status == 0, "no events for a child");
    need(try_context(other, 2, 2) == 0, "the parent's own");
    return 0;
}

static int check_lost(void) {
    const int node = open_polled(0);
    submit_to(node, RING, SWEDE_TEST_STALL_RING, 0);
    submit_to(node, QUIET_RING, SWEDE_TEST_LOSE_CONTEXT, 0);
    char byte;
    need(read(node, &byte, 1) == 0, "the end of the node");
    need(is_readable(node, 0), "the end again");
    return 0;
}

// One process, two opens of the node: the test renderer draws, and a client is on the compositor.
static int check_both(void) {
    const int node = open_context();
    struct blob blob = make_blob(node, 4096, 1);
    struct channel channel = open_channel();
    struct client client = connect_client(&channel.connection);
    for (uint32_t i = 0; i < 50; ++i) {
        round_trip(&client);
        run(node, (struct swede_test_command){SWEDE_TEST_FILL, 0, blob.resource, i, 0, 4}, "fill");
        need(blob.words[3] == i + 3, "what was drawn");
    }
    struct window window = open_window(&client, 64, 64);
    show_window(&client, &window);
    drop_blob(node, &blob);
    close(node);
    round_trip(&client);
    return 0;
}

static const struct test_case cases[] = {
    {"events", check_events},   {"many", check_many}, {"nonblocking", check_nonblocking},
    {"refused", check_refused}, {"lost", check_lost}, {"both", check_both},
};

int main(int argc, char** argv) {
    return run_case(cases, sizeof cases / sizeof cases[0], argc, argv);
}
