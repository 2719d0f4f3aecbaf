// SPDX-License-Identifier: Apache-2.0
// A test program of several cases: its first argument names one.
#pragma once

#include <stdio.h>
#include <string.h>

struct test_case {
    const char* name;
    int (*check)(void);
};

// Runs the case, which ends the program when something is not as it should be; prints "ok".
static int run_case(const struct test_case* cases, size_t count, int argc, char** argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; argc == 2 && i < count; ++i)
        if (strcmp(argv[1], cases[i].name) == 0 && cases[i].check() == 0) {
            printf("ok\n");
            return 0;
        }
    printf("SWEDE error what=\"a case that is known\"\n");
    return 1;
}
