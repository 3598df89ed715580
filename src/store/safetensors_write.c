#include "base/bf16.h"
#include "base/files.h"
#include "base/memory.h"
#include "store/element.h"
#include "store/json_text.h"
#include "store/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 4096, MAX_HEADER = 100000000 };

// One tensor of the file: a given one, or the scales of one in 8 bits.
typedef struct piece {
    lm_to_store tensor;
    size_t elements, bytes;
    int order;
    const float *scales; // of an I8 tensor, one a row
} piece;

typedef struct plan {
    piece *pieces;
    int count;
    lm_arena arena; // names and values of scales
} plan;

// Larger elements first, so that every tensor is aligned for its type; then the caller's order.
static int by_size(const void *a, const void *b) {
    const piece *x = a, *y = b;
    size_t s = lm_store_type_size(x->tensor.type), t = lm_store_type_size(y->tensor.type);
    if (s != t) return s > t ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

// Scales of a matrix in 8 bits: the largest magnitude of a row becomes 127.
static lm_status add_scales(lm_error *e, const char *path, plan *p, piece *of) {
    int64_t rows = of->tensor.rank > 0 ? of->tensor.dim[0] : 0, columns = rows ? (int64_t)of->elements / rows : 0;
    if (of->tensor.rank < 1)
        return lm_fail(e, LM_USAGE, "'%.200s': tensor '%.100s' has no rows to be stored in 8 bits", path,
                       of->tensor.name);
    size_t name_size = strlen(of->tensor.name) + sizeof ".scale";
    char *name = lm_arena_alloc(&p->arena, name_size);
    float *scales = lm_arena_alloc(&p->arena, (size_t)rows * sizeof *scales);
    if (!name || !scales) return lm_fail_memory(e, (double)rows * 4, "scales of 8-bit weights");
    memcpy(name, of->tensor.name, name_size - sizeof ".scale");
    strcat(name, ".scale");
    const float *from = of->tensor.data;
    for (int64_t r = 0; r < rows; r++) {
        float largest = 0;
        for (int64_t i = 0; i < columns; i++) {
            float magnitude = fabsf(*from++);
            if (!isfinite(magnitude))
                return lm_fail(e, LM_FAILED, "'%.200s': tensor '%.100s' holds a value that is not a finite number",
                               path, of->tensor.name);
            if (magnitude > largest) largest = magnitude;
        }
        scales[r] = largest / 127;
    }
    of->scales = scales;
    p->pieces[p->count] = (piece){.tensor = {.name = name, .rank = 1, .dim = {rows}, .data = scales, .type = LM_ST_F32},
                                  .elements = (size_t)rows,
                                  .bytes = (size_t)rows * 4,
                                  .order = p->count};
    p->count++;
    return LM_OK;
}

static lm_status plan_file(lm_error *e, const char *path, const lm_to_store *tensors, int count, plan *p) {
    p->pieces = lm_alloc_zero((size_t)count, 2 * sizeof *p->pieces);
    if (!p->pieces) return lm_fail_memory(e, (double)count * 2 * sizeof *p->pieces, path);
    for (int i = 0; i < count; i++) {
        piece *it = &p->pieces[p->count];
        it->tensor = tensors[i];
        it->order = p->count++;
        if (it->tensor.rank < 0 || it->tensor.rank > 8 ||
            !lm_store_elements(it->tensor.rank, it->tensor.dim, &it->elements) ||
            !lm_mul_size(it->elements, lm_store_type_size(it->tensor.type), &it->bytes))
            return lm_fail(e, LM_USAGE, "'%.200s': tensor '%.100s' has an impossible shape", path, it->tensor.name);
        if (it->tensor.type == LM_ST_I8) LM_TRY(add_scales(e, path, p, it));
    }
    if (p->count > 0) qsort(p->pieces, (size_t)p->count, sizeof *p->pieces, by_size);
    return LM_OK;
}

static json_t *shape_json(const lm_to_store *t) {
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        if (json_array_append_new(shape, json_integer(t->dim[i]))) {
            json_decref(shape);
            return NULL;
        }
    return shape;
}

static lm_status describe(lm_error *e, const char *path, json_t *header, const piece *it, size_t begin) {
    const lm_to_store *t = &it->tensor;
    if (!strcmp(t->name, "__metadata__") || json_object_get(header, t->name))
        return lm_fail(e, LM_USAGE, "'%.200s': two tensors of the file have the name '%.100s'", path, t->name);
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", lm_store_type_name(t->type), "shape", shape_json(t),
                              "data_offsets", (json_int_t)begin, (json_int_t)(begin + it->bytes));
    if (!entry) return lm_fail_memory(e, 0, "a file's header");
    if (json_object_set_new(header, t->name, entry))
        return lm_fail(e, LM_FAILED, "'%.200s': the tensor name '%.100s' is not UTF-8 or memory is short", path,
                       t->name);
    return LM_OK;
}

static lm_status describe_metadata(lm_error *e, const char *path, const char *const *keys, const char *const *values,
                                   int metadata, json_t *header) {
    json_t *strings = json_object();
    if (json_object_set_new(header, "__metadata__", strings)) return lm_fail_memory(e, 0, "a file's header");
    for (int i = 0; i < metadata; i++)
        if (json_object_set_new(strings, keys[i], json_string(values[i])))
            return lm_fail(e, LM_FAILED, "'%.200s': the metadata '%.100s' is not UTF-8 or memory is short", path,
                           keys[i]);
    return LM_OK;
}

static lm_status describe_all(lm_error *e, const char *path, const plan *p, json_t *header) {
    size_t begin = 0;
    for (int i = 0; i < p->count; i++) {
        if (p->pieces[i].bytes > (size_t)INT64_MAX - begin)
            return lm_fail(e, LM_USAGE, "'%.200s': the tensors are too large for a file", path);
        LM_TRY(describe(e, path, header, &p->pieces[i], begin));
        begin += p->pieces[i].bytes;
    }
    return LM_OK;
}

// The length and the header, padded with spaces so that the data begins at a multiple of 8.
static lm_status write_header(lm_error *e, const char *path, const json_t *header, lm_file_writer *w) {
    char *text;
    LM_TRY(lm_json_write(e, header, &text));
    uint64_t used = strlen(text), length = (used + 7) / 8 * 8;
    lm_status status = LM_OK;
    if (length > MAX_HEADER)
        status = lm_fail(e, LM_USAGE, "'%.200s': the header takes %llu bytes; at most %d are allowed", path,
                         (unsigned long long)length, MAX_HEADER);
    if (status == LM_OK) status = lm_file_append(e, w, &length, 8);
    if (status == LM_OK) status = lm_file_append(e, w, text, used);
    if (status == LM_OK) status = lm_file_append(e, w, "        ", length - used);
    lm_free(text);
    return status;
}

static int8_t to_i8(float value, float scale) {
    float q = scale > 0 ? rintf(value / scale) : 0;
    return (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
}

static lm_status write_converted(lm_error *e, const char *path, const piece *it, lm_file_writer *w) {
    union {
        uint16_t half[CHUNK];
        int8_t byte[CHUNK];
    } out;
    const lm_to_store *t = &it->tensor;
    const float *from = t->data;
    size_t columns = t->type == LM_ST_I8 && t->dim[0] ? it->elements / (size_t)t->dim[0] : 1;
    for (size_t first = 0; first < it->elements; first += CHUNK) {
        size_t n = it->elements - first < CHUNK ? it->elements - first : CHUNK;
        for (size_t i = 0; i < n; i++) {
            float x = from[first + i];
            if (t->type == LM_ST_I8)
                out.byte[i] = to_i8(x, it->scales[(first + i) / columns]);
            else if (t->type == LM_ST_BF16)
                out.half[i] = lm_bf16_from_float(x);
            else if (isfinite(x) && fabsf(x) >= 65520.0f)
                return lm_fail(e, LM_FAILED,
                               "'%.200s': tensor '%.100s' holds %g, too large for F16; BF16 or F32 hold it", path,
                               t->name, (double)x);
            else
                out.half[i] = lm_f16_from_float(x);
        }
        LM_TRY(lm_file_append(e, w, &out, n * lm_store_type_size(t->type)));
    }
    return LM_OK;
}

static lm_status write_pieces(lm_error *e, const char *path, const plan *p, lm_file_writer *w) {
    for (int i = 0; i < p->count; i++) {
        const piece *it = &p->pieces[i];
        lm_store_type type = it->tensor.type;
        if (type == LM_ST_F16 || type == LM_ST_BF16 || type == LM_ST_I8)
            LM_TRY(write_converted(e, path, it, w));
        else
            LM_TRY(lm_file_append(e, w, it->tensor.data, it->bytes));
    }
    return LM_OK;
}

static lm_status write_file(lm_error *e, const char *path, const plan *p, const json_t *header) {
    lm_file_writer *w;
    LM_TRY(lm_file_create(e, path, LM_MEDIA, &w));
    lm_status status = write_header(e, path, header, w);
    if (status == LM_OK) status = write_pieces(e, path, p, w);
    if (status == LM_OK) return lm_file_commit(e, &w);
    lm_file_discard(&w);
    return status;
}

lm_status lm_safetensors_write(lm_error *e, const char *path, const lm_to_store *tensors, int count,
                               const char *const *keys, const char *const *values, int metadata) {
    plan p = {0};
    json_t *header = json_object();
    lm_status status = header ? plan_file(e, path, tensors, count, &p) : lm_fail_memory(e, 0, "a file's header");
    if (status == LM_OK && metadata > 0) status = describe_metadata(e, path, keys, values, metadata, header);
    if (status == LM_OK) status = describe_all(e, path, &p, header);
    if (status == LM_OK) status = write_file(e, path, &p, header);
    json_decref(header);
    lm_free(p.pieces);
    lm_arena_free(&p.arena);
    return status;
}
