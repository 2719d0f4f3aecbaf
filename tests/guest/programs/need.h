// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// Tells the failure and ends the program.
__attribute__((format(printf, 2, 3), unused)) static void need(int condition, const char* what,
                                                               ...) {
    if (condition) return;
    printf("SWEDE error errno=%d what=\"", errno);
    va_list values;
    va_start(values, what);
    vprintf(what, values);
    va_end(values);
    printf("\"\n");
    exit(1);
}
