// Any bytes as a safetensors file: refused with a message, or tensors that lie in the file and can be read.
#include "base/memory.h"
#include "store/safetensors.h"

#include <stdlib.h>
#include <string.h>

static void require(int condition) {
    if (!condition) abort();
}

static void read_tensors(const lm_safetensors *s, const uint8_t *bytes, size_t size) {
    size_t total = 0;
    for (int i = 0; i < lm_safetensors_count(s); i++) {
        const lm_stored *t = lm_safetensors_at(s, i);
        require((const uint8_t *)t->data >= bytes + 8 && (const uint8_t *)t->data + t->bytes <= bytes + size);
        require(lm_safetensors_find(s, t->name) == t);
        total += t->bytes;
        float *values = lm_alloc(t->bytes, sizeof *values); // no type has less than a byte an element
        lm_error e = {0};
        if (values && lm_safetensors_floats(&e, s, t, values) != LM_OK) require(e.text[0]);
        lm_free(values);
    }
    require(total <= size);
}

static void try_file(const uint8_t *bytes, size_t size) {
    lm_error e = {0};
    lm_safetensors *s;
    lm_status status = lm_safetensors_parse(&e, "fuzz", bytes, size, &s);
    require((status == LM_OK) == (s != NULL) && status == e.status);
    if (s)
        read_tensors(s, bytes, size);
    else
        require(e.text[0]);
    lm_safetensors_free(&s);
}

// The input as a file, and as header and data, divided by a zero byte, with the right length before them.
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    try_file(input, size);
    const uint8_t *zero = size ? memchr(input, 0, size) : NULL;
    uint64_t header = zero ? (uint64_t)(zero - input) : size;
    size_t data = zero ? size - header - 1 : 0;
    uint8_t *file = malloc(8 + header + data);
    if (!file) return 0;
    memcpy(file, &header, 8);
    if (header) memcpy(file + 8, input, header);
    if (data) memcpy(file + 8 + header, zero + 1, data);
    try_file(file, 8 + header + data);
    free(file);
    return 0;
}
