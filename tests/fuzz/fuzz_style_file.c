// Any bytes as a style: refused with a message, or facts within their limits and finite weights when it is added to a
// small network. Tried as a file; as header and data, divided by a zero byte; and as the data of tensors that its first
// bytes choose, in a file that is otherwise well formed.
#include "store/style_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 3, FLOATS = 116, TEMPORAL = 112, MOST_HEADER = 4096 };

static const lm_slot slots[SLOTS] = {
    {.name = "conv.weight", .rank = 4, .dim = {4, 3, 3, 3}, .offset = 0},
    {.name = "norm.bias", .rank = 1, .dim = {4}, .offset = 108},
    {.name = "temporal.weight", .rank = 2, .dim = {2, 2}, .offset = TEMPORAL},
};

static void require(int condition) {
    if (!condition) abort();
}

static bool is_temporal(const char *name) {
    return strstr(name, "temporal") != NULL;
}

static void add(const lm_style *s, double alpha) {
    lm_error e = {0};
    float block[FLOATS], before[FLOATS];
    for (int i = 0; i < FLOATS; i++) block[i] = before[i] = 0.01f * (float)i;
    lm_status status = lm_style_add(&e, s, slots, SLOTS, is_temporal, lm_style_base(s), alpha, block);
    require(status == e.status && (status == LM_OK || (status == LM_MODEL && e.text[0])));
    require(!memcmp(block + TEMPORAL, before + TEMPORAL, (FLOATS - TEMPORAL) * sizeof *block));
    if (alpha == 0) require(!memcmp(block, before, sizeof block));
    for (int i = 0; i < FLOATS && status == LM_OK; i++) require(isfinite(block[i]));
}

static void write_all(int file, const void *bytes, size_t size) {
    require(write(file, bytes, size) == (ssize_t)size);
}

// header NULL: data is the whole file.
static void try_file(const char *header, uint64_t length, const uint8_t *data, size_t size) {
    lm_error e = {0};
    lm_style *s;
    char path[40];
    int file = memfd_create("style", MFD_CLOEXEC);
    require(file >= 0);
    if (header) write_all(file, &length, sizeof length);
    if (header) write_all(file, header, length);
    write_all(file, data, size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    lm_status status = lm_style_open(&e, path, &s);
    require(status == e.status && (status == LM_OK) == (s != NULL));
    if (s) {
        lm_style_facts f = lm_style_describe(s);
        require(lm_style_name_ok(f.name) && *f.licence && *f.made_from && f.rank >= 0 && f.rank <= LM_STYLE_MOST_RANK);
        require(strlen(lm_style_base(s)) == 16 && strlen(lm_style_hash(s)) == 16);
        add(s, 0);
        add(s, 0.5);
    } else {
        require(status == LM_MODEL && e.text[0]);
    }
    lm_style_free(&s);
    close(file);
}

// A tensor's entry in the header, its data from *at on: first names it, second is its type, third its shape.
static size_t print_tensor(char *out, size_t room, const uint8_t choice[3], size_t *at) {
    static const char *const names[] = {"conv.weight",
                                        "conv.weight.left",
                                        "conv.weight.right",
                                        "conv.weight.scale",
                                        "conv.weight.left.scale",
                                        "conv.weight.right.scale",
                                        "norm.bias",
                                        "norm.bias.scale",
                                        "norm.bias.left",
                                        "temporal.weight",
                                        "other"};
    static const struct {
        const char *name;
        size_t size;
    } types[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I8", 1}, {"U8", 1}, {"I32", 4}, {"I64", 8}, {"F64", 8}};
    static const struct {
        const char *dims;
        size_t count;
    } shapes[] = {{"4,3,3,3", 108}, {"4", 4},      {"1,4", 4}, {"1,3,3,3", 27}, {"2,4", 8}, {"2,3,3,3", 54},
                  {"2", 2},         {"3,1,4", 12}, {"1", 1},   {"2,2", 4},      {"0,4", 0}, {"", 1}};
    size_t type = choice[1] % (sizeof types / sizeof *types), shape = choice[2] % (sizeof shapes / sizeof *shapes);
    size_t end = *at + types[type].size * shapes[shape].count;
    int n = snprintf(out, room, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                     names[choice[0] % (sizeof names / sizeof *names)], types[type].name, shapes[shape].dims, *at, end);
    require(n > 0 && (size_t)n < room);
    *at = end;
    return (size_t)n;
}

// The first byte says how many tensors there are, three more choose each, the rest is their data, followed by zeros.
static void try_tensors(const uint8_t *input, size_t size) {
    static const char facts[] = "{\"__metadata__\":{\"kind\":\"lumiere-style\",\"format\":\"1\",\"name\":\"ink\","
                                "\"licence\":\"MIT\",\"made_from\":\"2 pictures\",\"rank\":\"2\","
                                "\"base_hash\":\"0123456789abcdef\"}";
    char header[MOST_HEADER];
    size_t n = sizeof facts - 1, count = size ? input[0] % 8 : 0, end = 0;
    if (size < 1 + 3 * count) return;
    memcpy(header, facts, n);
    for (size_t i = 0; i < count; i++) n += print_tensor(header + n, sizeof header - n, input + 1 + 3 * i, &end);
    header[n++] = '}';
    uint8_t *data = calloc(end + 1, 1);
    size_t left = size - 1 - 3 * count;
    require(data != NULL);
    memcpy(data, input + size - left, left < end ? left : end);
    try_file(header, n, data, end);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    try_file(NULL, 0, input, size);
    const uint8_t *zero = size ? memchr(input, 0, size) : NULL;
    size_t header = zero ? (size_t)(zero - input) : size;
    if (header) try_file((const char *)input, header, input + header + (zero != NULL), size - header - (zero != NULL));
    try_tensors(input, size);
    return 0;
}
