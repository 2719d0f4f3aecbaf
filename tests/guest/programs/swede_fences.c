// SPDX-License-Identifier: Apache-2.0
// Fences of rings: in order on one ring, on their own on different rings and in different contexts.
#include "virtgpu.h"

// A context has a share of the queue only, so few fences are out at once.
enum { IN_ORDER = 12, RINGS = 8 };

static struct swede_test_command delay(uint32_t ms) {
    return (struct swede_test_command){.operation = SWEDE_TEST_DELAY, .value = ms};
}

int main(void) {
    const int node = open_context();
    const int other = open_context();

    // Once the last of a ring is reached, so are all before it.
    int fences[IN_ORDER];
    for (int i = 0; i < IN_ORDER; ++i) fences[i] = submit(node, 3, delay((uint32_t)i % 4));
    wait_for(fences[IN_ORDER - 1], "the last of a ring");
    for (int i = 0; i < IN_ORDER - 1; ++i) {
        need(is_reached(fences[i]), "fence %d of %d is out after the last", i, IN_ORDER);
        close(fences[i]);
    }
    printf("SWEDE fences in_order=%d\n", IN_ORDER);

    // A ring that never gets on holds back neither another ring nor another context.
    const int stalled =
        submit(node, 1, (struct swede_test_command){.operation = SWEDE_TEST_STALL_RING});
    for (uint32_t ring = 2; ring < 2 + RINGS; ++ring) {
        wait_for(submit(node, ring, delay(1)), "a ring beside a stalled one");
        wait_for(submit(other, 1, delay(1)), "the same ring of another context");
    }
    need(!is_reached(stalled), "the stalled ring's fence is reached");
    printf("SWEDE fences independent=%d\n", RINGS);

    // The end of the context reaches what is left.
    close(node);
    wait_for(stalled, "a context that has ended");
    wait_for(submit(other, 1, delay(1)), "the other context, still");
    printf("SWEDE fences ok=1\n");
    return 0;
}
