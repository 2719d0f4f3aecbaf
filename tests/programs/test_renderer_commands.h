/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/*
 * What the test renderer (test_renderer.h) understands in SUBMIT_3D. Plain C: guest programs of the
 * tests use it too. A submission is a row of commands, each `size` bytes long, header included.
 */

/*
 * No driver of Mesa uses this id (they have 1 to 9), and Linux takes it in every version: before a
 * fix in virtgpu_kms.c it kept its set of ids with a shift of an int, which goes wrong from 31 on.
 */
#define SWEDE_TEST_CAPSET_ID 30
#define SWEDE_TEST_CAPSET_VERSION 1
#define SWEDE_TEST_CAPSET_MAGIC 0x74736574u /* "test" */

struct swede_test_capset {
    uint32_t magic;
    uint32_t max_rings;
    uint64_t max_blob_size; /* bytes */
};

/* Rings of a context that have a timeline of their own. */
#define SWEDE_TEST_MAX_RINGS 64
#define SWEDE_TEST_MAX_BLOB_SIZE (1ull << 30)

/* The name of a context that is not made. */
#define SWEDE_TEST_REFUSED_NAME "refused"

enum swede_test_operation {
    /* Writes the bytes behind the header to `resource` at `offset`. */
    SWEDE_TEST_ECHO = 1,
    /* Adds `value` to the 32-bit word of `resource` at `offset`. */
    SWEDE_TEST_ADD = 2,
    /* Writes value, value + 1, ... to `argument` words of `resource` from `offset`. */
    SWEDE_TEST_FILL = 3,
    /* The ring is busy for `value` more milliseconds: fences made from now on wait for it. */
    SWEDE_TEST_DELAY = 4,
    /* Fences made on the ring from now on are never reached. */
    SWEDE_TEST_STALL_RING = 5,
    /* The next create, export, place or displace of a blob answers `value` ms later. */
    SWEDE_TEST_SLOW = 6,
    /* The next create, export, place or displace of a blob fails: out of memory. */
    SWEDE_TEST_FAIL = 7,
    /* The next create, export, place or displace of a blob, or reset, is never answered. */
    SWEDE_TEST_NEVER_ANSWER = 8,
    /* submit() refuses the commands. */
    SWEDE_TEST_REFUSE = 9,
    /* The context is reported lost. */
    SWEDE_TEST_LOSE_CONTEXT = 10,
    /* Only in a renderer process: abort(). */
    SWEDE_TEST_CRASH = 11,
    /* Only in a renderer process: never returns from submit(). */
    SWEDE_TEST_HANG = 12,
    /*
     * Tries what no renderer may, and writes a word to `resource` at `offset` with a bit
     * (enum swede_test_escape) for each that worked.
     */
    SWEDE_TEST_ESCAPE = 13,
    /* Writes the number of open file descriptors to the word of `resource` at `offset`. */
    SWEDE_TEST_COUNT_FILES = 14,
    /* The memory of `resource` is in another file from now on, and zero. */
    SWEDE_TEST_NEW_FILE = 15,
};

enum swede_test_escape {
    SWEDE_TEST_ESCAPE_OPEN = 1 << 0,    /* open a file */
    SWEDE_TEST_ESCAPE_SOCKET = 1 << 1,  /* make a socket */
    SWEDE_TEST_ESCAPE_FORK = 1 << 2,    /* make a process */
    SWEDE_TEST_ESCAPE_EXECUTE = 1 << 3, /* map memory to execute */
    SWEDE_TEST_ESCAPE_TRACE = 1 << 4,   /* attach to the device process */
    SWEDE_TEST_ESCAPE_SIGNAL = 1 << 5,  /* signal the device process */
    SWEDE_TEST_ESCAPE_OWNER = 1 << 6,   /* have a file signal the device process */
};

struct swede_test_command {
    uint32_t operation; /* enum swede_test_operation */
    uint32_t size;      /* bytes, with this header and what follows it; a multiple of 4 */
    uint32_t resource;  /* id of an attached resource */
    uint32_t value;
    uint64_t offset; /* bytes */
    uint64_t argument;
};
