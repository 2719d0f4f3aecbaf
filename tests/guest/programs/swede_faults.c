// SPDX-License-Identifier: Apache-2.0
// swede_faults crash|hang|lose|refuse|slow MS|serve: breaks the renderer as told, in a context of
// its own, and checks that what is out ends, and that a new context is served afterwards. `serve`
// only does the latter.
#include "virtgpu.h"

// A new context does what it should, from its blob to its fence.
static void serve(const char* when) {
    const int node = open_context();
    struct blob blob = make_blob(node, 65536, 1);
    blob.words[1] = 41;
    run(node,
        (struct swede_test_command){
            .operation = SWEDE_TEST_ADD, .resource = blob.resource, .value = 1, .offset = 4},
        "a new context");
    need(blob.words[1] == 42, "%s a new context's blob has %u, not 42", when, blob.words[1]);
    drop_blob(node, &blob);
    close(node);
}

// Ends what the context has out by breaking it; its own fence comes too.
static void break_context(const char* how, uint32_t operation) {
    const int node = open_context();
    struct blob blob = make_blob(node, 65536, 1);
    blob.words[0] = 7;
    const int stalled =
        submit(node, 5, (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    need(!is_reached(stalled), "the stalled ring's fence is reached");
    wait_for(submit(node, 0, (struct swede_test_command){.operation = operation}), how);
    wait_for(stalled, "a ring of the lost context");
    // The memory that is mapped stays readable: the guest's program is not to die of it.
    printf("SWEDE faults %s word=%u\n", how, blob.words[0]);
    wait_for(submit(node, 0, (struct swede_test_command){.operation = SWEDE_TEST_DELAY}),
             "a command to the lost context");
    drop_blob(node, &blob);
    close(node);
}

static void be_slow(uint32_t ms) {
    const int node = open_context();
    const int other = open_context();
    run(node, (struct swede_test_command){.operation = SWEDE_TEST_SLOW, .value = ms}, "slow");
    struct blob blob = make_blob(node, 65536, 0);
    // While the host is at it, another context goes on.
    for (int i = 0; i < 10; ++i)
        wait_for(submit(other, 1, (struct swede_test_command){.operation = SWEDE_TEST_DELAY}),
                 "another context while a blob is slow");
    printf("SWEDE faults slow others=10\n");
    run(node,
        (struct swede_test_command){
            .operation = SWEDE_TEST_ADD, .resource = blob.resource, .value = 9},
        "the slow blob");
    drop_blob(node, &blob);
    struct blob next = make_blob(node, 65536, 1);
    need(next.words[0] == 0, "the next blob begins with %u", next.words[0]);
    close(other);
    close(node);
}

int main(int count, char** values) {
    const char* const how = count > 1 ? values[1] : "";
    static const struct {
        const char* how;
        uint32_t operation;
    } kinds[] = {
        {"crash", SWEDE_TEST_CRASH}, {"hang", SWEDE_TEST_HANG}, {"lose", SWEDE_TEST_LOSE_CONTEXT}};
    serve("before");
    int known = strcmp(how, "serve") == 0;
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (strcmp(how, kinds[i].how) == 0) {
            break_context(how, kinds[i].operation);
            known = 1;
        }
    if (strcmp(how, "refuse") == 0) {
        // In process the commands alone are refused, from a renderer process the context is lost.
        const int node = open_context();
        run(node, (struct swede_test_command){.operation = SWEDE_TEST_REFUSE}, "refused commands");
        close(node);
        known = 1;
    }
    if (strcmp(how, "slow") == 0) {
        be_slow(count > 2 ? (uint32_t)strtoul(values[2], NULL, 0) : 500);
        known = 1;
    }
    need(known, "unknown fault: %s", how);
    serve("after");
    printf("SWEDE faults %s ok=1\n", how);
    return 0;
}
