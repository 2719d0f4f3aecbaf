// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

// The same function is in pictures.py: each pixel depends on seed and place in all its bytes.
static uint32_t pattern(uint32_t seed, uint32_t x, uint32_t y) {
    uint32_t value = (x * 2654435761u) ^ (y * 2246822519u) ^ (seed * 3266489917u);
    value ^= value >> 15;
    return value * 668265263u;
}
