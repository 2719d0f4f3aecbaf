// SPDX-License-Identifier: Apache-2.0
// The guest's ends of cross-domain channels, under the orders of a test on the host: a line each on
// the terminal that is named, answered by one that begins with SWEDE. Bytes are hexadecimal.
//   open                     a connected context: its number here
//   init CONTEXT             connects again
//   submit CONTEXT TIMES HEX the same commands so often; answered once the last are executed
//   query CONTEXT SIZE       what the query ring has
//   ask CONTEXT              a POLL, whose fence waits
//   reached CONTEXT          whether that fence is reached
//   wait CONTEXT             until it is
//   message CONTEXT          what the channel ring has
//   drain CONTEXT            asks until a pipe ends: its size, its Adler-32, messages of the
//                            compositor that came meanwhile
//   blob CONTEXT ID SIZE     mapped memory of what the host calls so: its resource
//   peek CONTEXT RESOURCE OFFSET SIZE, poke CONTEXT RESOURCE OFFSET HEX
//   close CONTEXT
//   quit
#include <termios.h>

// Its Wayland client, and who sends and asks by functions, have no use here.
#pragma GCC diagnostic ignored "-Wunused-function"
#include "cross_domain.h"

enum { CONTEXTS = 8, MEMORIES = 64, LINE_BYTES = 4 * PAGE };

struct memory {
    uint8_t* bytes;
    uint64_t size;
    uint32_t resource;
};
struct context {
    struct channel channel;
    struct memory memories[MEMORIES];
    uint32_t memory_count;
    int is_open;
    int asked;  // the fence of the last POLL
};

static struct context contexts[CONTEXTS];
static FILE* terminal;

// --- words of an order ---

static const char* next_word(void) {
    const char* const word = strtok(NULL, " \n");
    need(word != NULL, "an order is too short");
    return word;
}
static uint64_t next_number(void) {
    return strtoull(next_word(), NULL, 0);
}
static uint32_t next_bytes(uint8_t* bytes, uint32_t room) {
    const char* const word = next_word();
    const size_t size = strlen(word) / 2;
    need(size <= room, "%zu bytes in an order", size);
    for (size_t i = 0; i < size; ++i) {
        const char digits[3] = {word[2 * i], word[2 * i + 1], 0};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return (uint32_t)size;
}
static void answer_bytes(const uint8_t* bytes, uint64_t size) {
    fprintf(terminal, "SWEDE ");
    for (uint64_t i = 0; i < size; ++i) fprintf(terminal, "%02x", bytes[i]);
    fprintf(terminal, "\n");
}
static void answer_number(uint32_t value) {
    fprintf(terminal, "SWEDE %u\n", value);
}

// --- orders ---

static void open_next(void) {
    uint32_t number = 0;
    while (number < CONTEXTS && (contexts[number].is_open || contexts[number].asked)) ++number;
    need(number < CONTEXTS, "%d contexts are open", CONTEXTS);
    contexts[number] = (struct context){.channel = open_channel(), .is_open = 1};
    answer_number(number);
}

static void connect_again(struct context* context) {
    const struct init_command command =
        make_init(context->channel.query_id, context->channel.ring_id);
    execute(context->channel.node, &command, sizeof command, 0, 0, NULL);
    answer_number(0);
}

static void submit_commands(struct context* context) {
    static uint8_t commands[PAGE];
    uint64_t times = next_number();
    const uint32_t size = next_bytes(commands, sizeof commands);
    while (--times > 0) execute(context->channel.node, commands, size, 0, 0, NULL);
    int fence;
    execute(context->channel.node, commands, size, EXECUTE_FENCE_OUT | EXECUTE_RING, 0, &fence);
    wait_for(fence, "commands");
    answer_number(0);
}

static void ask(struct context* context) {
    need(context->asked == 0, "one POLL at a time");
    execute(context->channel.node, poll_command, sizeof poll_command,
            EXECUTE_FENCE_OUT | EXECUTE_RING, CHANNEL_RING, &context->asked);
}

static void wait_for_answer(struct context* context) {
    wait_for(context->asked, "a POLL");
    context->asked = 0;
    if (!context->is_open) return;
    uint32_t event[2];  // the driver tells by an event as well
    need(read(context->channel.node, event, sizeof event) == sizeof event, "read an event");
}

static void ask_alone(struct context* context) {
    ask(context);
    answer_number(0);
}
static void wait_alone(struct context* context) {
    wait_for_answer(context);
    answer_number(0);
}

// A READ, or else a RECEIVE: both have their head, and how much they have.
struct head {
    uint32_t command, padding, words[3];
};

static uint32_t read_head(const struct context* context, struct head* head) {
    memcpy(head, context->channel.ring, sizeof *head);
    const uint64_t size = head->command == COMMAND_READ ? UINT64_C(24) + head->words[2]
                                                        : UINT64_C(0) + SEND_HEAD + head->words[1];
    need(size <= PAGE, "a message of %llu bytes", (unsigned long long)size);
    return (uint32_t)size;
}

static void answer_message(struct context* context) {
    struct head head;
    const uint32_t size = read_head(context, &head);
    answer_bytes(context->channel.ring, size);
}

static void drain(struct context* context) {
    char* others = NULL;
    size_t others_size = 0;
    FILE* const noted = open_memstream(&others, &others_size);
    need(noted != NULL, "open_memstream");
    uint64_t total = 0;
    uint32_t low = 1, high = 0;
    for (;;) {
        ask(context);
        wait_for_answer(context);
        struct head head;
        const uint32_t size = read_head(context, &head);
        const uint8_t* const ring = context->channel.ring;
        if (head.command != COMMAND_READ) {
            need(head.words[0] != 0 || head.words[1] != 0, "the connection ends before the pipe");
            fputc(' ', noted);
            for (uint32_t i = 0; i < size; ++i) fprintf(noted, "%02x", ring[i]);
            continue;
        }
        if (head.words[1] != 0) break;  // hang up
        for (uint32_t i = 24; i < size; ++i) {
            low = (low + ring[i]) % 65521;
            high = (high + low) % 65521;
        }
        total += head.words[2];
    }
    fclose(noted);
    fprintf(terminal, "SWEDE %llu %u%s\n", (unsigned long long)total, high << 16 | low, others);
    free(others);
}

static void create_blob(struct context* context) {
    need(context->memory_count < MEMORIES, "%d blobs in a context", MEMORIES);
    struct memory* const memory = &context->memories[context->memory_count++];
    const uint64_t id = next_number();
    memory->size = next_number();
    uint32_t handle;
    memory->bytes =
        create_memory(context->channel.node, BLOB_HOST3D, BLOB_MAPPABLE | BLOB_SHAREABLE, id,
                      memory->size, &handle, &memory->resource);
    answer_number(memory->resource);
}

static struct memory* next_memory(struct context* context, uint64_t* offset) {
    const uint32_t resource = (uint32_t)next_number();
    struct memory* memory = context->memories;
    while (memory < context->memories + context->memory_count && memory->resource != resource)
        ++memory;
    *offset = next_number();
    need(memory < context->memories + context->memory_count && *offset <= memory->size,
         "resource %u", resource);
    return memory;
}

static void peek(struct context* context) {
    uint64_t offset;
    const struct memory* const memory = next_memory(context, &offset);
    const uint64_t size = next_number();
    need(size <= memory->size - offset, "%llu bytes", (unsigned long long)size);
    answer_bytes(memory->bytes + offset, size);
}

static void poke(struct context* context) {
    uint64_t offset;
    struct memory* const memory = next_memory(context, &offset);
    const uint64_t room = memory->size - offset;
    next_bytes(memory->bytes + offset, room < PAGE ? (uint32_t)room : PAGE);
    answer_number(0);
}

static void close_context(struct context* context) {
    for (uint32_t i = 0; i < context->memory_count; ++i)
        need(munmap(context->memories[i].bytes, context->memories[i].size) == 0, "munmap");
    need(munmap(context->channel.query, PAGE) == 0 && munmap(context->channel.ring, PAGE) == 0,
         "munmap of the rings");
    close(context->channel.node);
    context->is_open = 0;
    context->memory_count = 0;
    answer_number(0);
}

static void obey(const char* order) {
    if (strcmp(order, "open") == 0) {
        open_next();
        return;
    }
    const uint64_t number = next_number();
    need(number < CONTEXTS, "context %llu", (unsigned long long)number);
    struct context* const context = &contexts[number];
    // A fence outlives its context.
    const int is_of_fence = strcmp(order, "wait") == 0 || strcmp(order, "reached") == 0;
    need(context->is_open || is_of_fence, "context %llu is closed", (unsigned long long)number);
    static const struct {
        const char* name;
        void (*obey)(struct context*);
    } orders[] = {{"init", connect_again},
                  {"submit", submit_commands},
                  {"ask", ask_alone},
                  {"wait", wait_alone},
                  {"message", answer_message},
                  {"drain", drain},
                  {"blob", create_blob},
                  {"peek", peek},
                  {"poke", poke},
                  {"close", close_context}};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; ++i)
        if (strcmp(order, orders[i].name) == 0) {
            orders[i].obey(context);
            return;
        }
    if (strcmp(order, "reached") == 0) {
        answer_number((uint32_t)is_reached(context->asked));
    } else {
        need(strcmp(order, "query") == 0, "unknown order %s", order);
        const uint64_t size = next_number();
        need(size <= PAGE, "%llu bytes of a ring", (unsigned long long)size);
        answer_bytes(context->channel.query, size);
    }
}

int main(int argc, char** argv) {
    need(argc == 2, "usage: swede_channel TERMINAL");
    const int file = open(argv[1], O_RDWR | O_NOCTTY);
    need(file >= 0, "open %s", argv[1]);
    struct termios settings;
    if (tcgetattr(file, &settings) == 0) {  // a line is longer than the 4096 of canonical input
        cfmakeraw(&settings);
        tcsetattr(file, TCSANOW, &settings);
    }
    terminal = fdopen(file, "w");
    FILE* const orders = fdopen(dup(file), "r");
    need(terminal != NULL && orders != NULL, "open streams");
    fprintf(terminal, "SWEDE ready\n");
    static char line[LINE_BYTES];
    for (;;) {
        fflush(terminal);
        need(fgets(line, sizeof line, orders) != NULL, "the orders end");
        const char* const order = strtok(line, " \n");
        if (order == NULL) continue;
        if (strcmp(order, "quit") == 0) return 0;
        obey(order);
    }
}
