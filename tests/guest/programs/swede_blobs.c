// SPDX-License-Identifier: Apache-2.0
// swede_blobs [COUNT [BYTES [ROUNDS]]]: makes COUNT host blobs, has all mapped at once, checks that
// each begins as zeroes, that the guest sees what the host wrote, and the host what the guest
// wrote.
#include "virtgpu.h"

static unsigned long argument(int count, char** values, int index, unsigned long otherwise) {
    return count > index ? strtoul(values[index], NULL, 0) : otherwise;
}

static uint32_t pattern_of(unsigned long index) {
    return 0x55000000u + (uint32_t)index * 0x101u;
}

// Before the next submission: few are out at once, since a context has a share of the queue only.
static void next(int* fence, unsigned long* submitted) {
    if (*fence < 0) return;
    if (++*submitted % 8 == 0)
        wait_for(*fence, "a part");
    else
        close(*fence);
    *fence = -1;
}

int main(int count, char** values) {
    const unsigned long blobs = argument(count, values, 1, 100);
    const unsigned long size = argument(count, values, 2, 65536);
    const unsigned long rounds = argument(count, values, 3, 1);
    const unsigned long words = size / 4;
    const int node = open_context();
    struct blob* const all = calloc(blobs, sizeof *all);
    need(all != NULL, "memory for %lu blobs", blobs);
    const unsigned long places[] = {0, words / 2, words - 1};

    for (unsigned long round = 0; round < rounds; ++round) {
        for (unsigned long i = 0; i < blobs; ++i) {
            all[i] = make_blob(node, size, 1);
            for (unsigned long word = 0; word < words; word += words / 16)
                need(all[i].words[word] == 0, "blob %lu begins with %#x at word %lu", i,
                     all[i].words[word], word);
        }
        printf("SWEDE blobs round=%lu mapped=%lu\n", round, blobs);
        int fence = -1;
        unsigned long submitted = 0;
        for (unsigned long i = 0; i < blobs; ++i) {
            next(&fence, &submitted);
            fence = submit(node, 0,
                           (struct swede_test_command){.operation = SWEDE_TEST_FILL,
                                                       .resource = all[i].resource,
                                                       .value = pattern_of(i),
                                                       .argument = words});
        }
        wait_for(fence, "the patterns");
        fence = -1;
        for (unsigned long i = 0; i < blobs; ++i)
            for (int p = 0; p < 3; ++p) {
                const uint32_t expected = pattern_of(i) + (uint32_t)places[p];
                need(all[i].words[places[p]] == expected, "blob %lu has %#x at word %lu, not %#x",
                     i, all[i].words[places[p]], places[p], expected);
                all[i].words[places[p]] = ~expected;
            }
        for (unsigned long i = 0; i < blobs; ++i)
            for (int p = 0; p < 3; ++p) {
                next(&fence, &submitted);
                fence = submit(node, 0,
                               (struct swede_test_command){.operation = SWEDE_TEST_ADD,
                                                           .resource = all[i].resource,
                                                           .value = 3,
                                                           .offset = places[p] * 4});
            }
        wait_for(fence, "the sums");
        for (unsigned long i = 0; i < blobs; ++i)
            for (int p = 0; p < 3; ++p) {
                const uint32_t expected = ~(pattern_of(i) + (uint32_t)places[p]) + 3;
                need(all[i].words[places[p]] == expected, "blob %lu has %#x at word %lu, not %#x",
                     i, all[i].words[places[p]], places[p], expected);
            }
        for (unsigned long i = 0; i < blobs; ++i) drop_blob(node, &all[i]);
    }
    printf("SWEDE blobs count=%lu bytes=%lu rounds=%lu ok=1\n", blobs, size, rounds);
    return 0;
}
