#include "store/safetensors.h"

#include "base/bf16.h"
#include "base/memory.h"
#include "store/element.h"
#include "store/json_text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian and is read in place");

enum { MAX_HEADER = 100000000, MAX_RANK = 8 };

struct lm_safetensors {
    lm_arena arena; // names, metadata
    const char *file;
    lm_stored *tensors;          // in the order of their bytes
    const lm_stored **by_name;   // the same, sorted
    const char **keys, **values; // metadata
    int count, metadata;
    void *map; // NULL when the bytes are borrowed
    size_t map_size;
};

// A tensor's entry in the header while it is being checked.
typedef struct entry {
    lm_stored tensor;
    uint64_t begin, end;
} entry;

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const lm_stored *const *)a)->name, (*(const lm_stored *const *)b)->name);
}

static lm_status bad(lm_error *e, const lm_safetensors *s, const char *tensor, const char *what) {
    return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' %s", s->file, tensor, what);
}

// A whole number from 0 to 2^63 - 1.
static bool read_whole(const json_t *value, int64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = json_integer_value(value);
    return true;
}

static lm_status read_shape(lm_error *e, const lm_safetensors *s, const json_t *shape, lm_stored *t) {
    if (!json_is_array(shape)) return bad(e, s, t->name, "has no \"shape\", a list of whole numbers");
    if (json_array_size(shape) > MAX_RANK) return bad(e, s, t->name, "has more than 8 dimensions");
    t->rank = (int)json_array_size(shape);
    for (int i = 0; i < t->rank; i++)
        if (!read_whole(json_array_get(shape, (size_t)i), &t->dim[i]))
            return bad(e, s, t->name, "has a dimension that is not a whole number from 0 on");
    return LM_OK;
}

static lm_status read_offsets(lm_error *e, const lm_safetensors *s, const json_t *offsets, entry *out) {
    int64_t begin, end;
    if (json_array_size(offsets) != 2 || !read_whole(json_array_get(offsets, 0), &begin) ||
        !read_whole(json_array_get(offsets, 1), &end))
        return bad(e, s, out->tensor.name, "has no \"data_offsets\", a list of two whole numbers");
    if (begin > end) return bad(e, s, out->tensor.name, "ends before it begins");
    out->begin = (uint64_t)begin;
    out->end = (uint64_t)end;
    return LM_OK;
}

static lm_status read_entry(lm_error *e, lm_safetensors *s, const char *name, json_t *from, entry *out) {
    lm_stored *t = &out->tensor;
    t->name = lm_arena_strdup(&s->arena, name);
    if (!t->name) return lm_fail_memory(e, (double)strlen(name), s->file);
    if (!json_is_object(from)) return bad(e, s, name, "is not described by an object");
    const char *type = json_string_value(json_object_get(from, "dtype"));
    if (!type) return bad(e, s, name, "has no \"dtype\"");
    if (!lm_store_type_find(type, &t->type))
        return lm_fail(
            e, LM_MODEL,
            "'%.200s': tensor '%.100s' has the type '%.20s'; known are F64, F32, F16, BF16, I64, I32, I8, U8", s->file,
            name, type);
    LM_TRY(read_shape(e, s, json_object_get(from, "shape"), t));
    LM_TRY(read_offsets(e, s, json_object_get(from, "data_offsets"), out));
    if (json_object_size(from) != 3) return bad(e, s, name, "has a property that is not dtype, shape or data_offsets");
    size_t elements;
    if (!lm_store_elements(t->rank, t->dim, &elements) ||
        !lm_mul_size(elements, lm_store_type_size(t->type), &t->bytes))
        return bad(e, s, name, "has a shape too large to exist");
    if (t->bytes != out->end - out->begin)
        return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' has %llu bytes; its shape and type need %zu", s->file,
                       name, (unsigned long long)(out->end - out->begin), t->bytes);
    return LM_OK;
}

static lm_status read_metadata(lm_error *e, lm_safetensors *s, json_t *from) {
    if (!json_is_object(from)) return lm_fail(e, LM_MODEL, "'%.200s': __metadata__ is not an object", s->file);
    size_t n = json_object_size(from);
    s->keys = lm_arena_alloc(&s->arena, n * sizeof *s->keys);
    s->values = lm_arena_alloc(&s->arena, n * sizeof *s->values);
    if (!s->keys || !s->values) return lm_fail_memory(e, (double)n, s->file);
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value) {
        if (!json_is_string(value))
            return lm_fail(e, LM_MODEL, "'%.200s': __metadata__ '%.100s' is not a string", s->file, key);
        s->keys[s->metadata] = lm_arena_strdup(&s->arena, key);
        s->values[s->metadata] = lm_arena_strdup(&s->arena, json_string_value(value));
        if (!s->keys[s->metadata] || !s->values[s->metadata])
            return lm_fail_memory(e, (double)json_string_length(value), s->file);
        s->metadata++;
    }
    return LM_OK;
}

// The tensors must cover the data, size bytes, without holes or overlaps.
static lm_status place_tensors(lm_error *e, lm_safetensors *s, entry *entries, const uint8_t *data, size_t size) {
    s->tensors = lm_arena_alloc(&s->arena, (size_t)s->count * sizeof *s->tensors);
    s->by_name = lm_arena_alloc(&s->arena, (size_t)s->count * sizeof *s->by_name);
    if (!s->tensors || !s->by_name) return lm_fail_memory(e, (double)s->count * sizeof *s->tensors, s->file);
    if (s->count > 0) qsort(entries, (size_t)s->count, sizeof *entries, by_place);
    uint64_t end = 0;
    for (int i = 0; i < s->count; i++) {
        const entry *it = &entries[i];
        if (it->begin != end)
            return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' begins at byte %llu of the data; %s %llu", s->file,
                           it->tensor.name, (unsigned long long)it->begin,
                           it->begin < end ? "it overlaps the one before, which ends at" : "bytes are unused from",
                           (unsigned long long)end);
        if (it->end > size)
            return lm_fail(e, LM_MODEL,
                           "'%.200s': truncated: tensor '%.100s' ends at byte %llu of the data, the file at %zu",
                           s->file, it->tensor.name, (unsigned long long)it->end, size);
        end = it->end;
        s->tensors[i] = it->tensor;
        s->tensors[i].data = data + it->begin;
        s->by_name[i] = &s->tensors[i];
    }
    if (end != size)
        return lm_fail(e, LM_MODEL, "'%.200s': %zu bytes of data; the tensors take %llu", s->file, size,
                       (unsigned long long)end);
    if (s->count > 0) qsort(s->by_name, (size_t)s->count, sizeof *s->by_name, by_name);
    return LM_OK;
}

static lm_status read_entries(lm_error *e, lm_safetensors *s, json_t *header, const uint8_t *data, size_t size) {
    entry *entries = lm_alloc_zero(json_object_size(header), sizeof *entries);
    if (!entries) return lm_fail_memory(e, (double)json_object_size(header) * sizeof *entries, s->file);
    lm_status status = LM_OK;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value) {
        if (!strcmp(name, "__metadata__"))
            status = read_metadata(e, s, value);
        else
            status = read_entry(e, s, name, value, &entries[s->count++]);
        if (status != LM_OK) break;
    }
    if (status == LM_OK) status = place_tensors(e, s, entries, data, size);
    lm_free(entries);
    return status;
}

static lm_status read_file(lm_error *e, lm_safetensors *s, const uint8_t *bytes, size_t size) {
    uint64_t length;
    if (size < 8) return lm_fail(e, LM_MODEL, "'%.200s': truncated: %zu bytes, no header", s->file, size);
    memcpy(&length, bytes, 8);
    if (length > MAX_HEADER)
        return lm_fail(e, LM_MODEL, "'%.200s': not safetensors: a header of %llu bytes; at most %d are allowed",
                       s->file, (unsigned long long)length, MAX_HEADER);
    if (length > size - 8)
        return lm_fail(e, LM_MODEL, "'%.200s': truncated: a header of %llu bytes in a file of %zu", s->file,
                       (unsigned long long)length, size);
    if (length == 0 || bytes[8] != '{')
        return lm_fail(e, LM_MODEL, "'%.200s': not safetensors: the header doesn't begin with '{'", s->file);
    json_t *header;
    LM_TRY(lm_json_read(e, s->file, (const char *)bytes + 8, (size_t)length, &header));
    lm_status status = read_entries(e, s, header, bytes + 8 + length, size - 8 - (size_t)length);
    json_decref(header);
    return status;
}

lm_status lm_safetensors_parse(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_safetensors **out) {
    *out = NULL;
    lm_safetensors *s = lm_alloc_zero(1, sizeof *s);
    if (!s) return lm_fail_memory(e, sizeof *s, name);
    s->file = lm_arena_strdup(&s->arena, name);
    lm_status status = s->file ? read_file(e, s, bytes, size) : lm_fail_memory(e, (double)strlen(name), name);
    if (status != LM_OK)
        lm_safetensors_free(&s);
    else
        *out = s;
    return status;
}

static lm_status map_file(lm_error *e, const char *path, int fd, void **map, size_t *size) {
    struct stat info;
    if (fstat(fd, &info)) return lm_fail(e, LM_MODEL, "can't read '%.200s': %m", path);
    if (!S_ISREG(info.st_mode)) return lm_fail(e, LM_MODEL, "can't read '%.200s': it is not a file", path);
    if (info.st_size < 8)
        return lm_fail(e, LM_MODEL, "'%.200s': truncated: %lld bytes, no header", path, (long long)info.st_size);
    void *m = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (m == MAP_FAILED) return lm_fail_memory(e, (double)info.st_size, path);
    *map = m;
    *size = (size_t)info.st_size;
    return LM_OK;
}

lm_status lm_safetensors_open(lm_error *e, const char *path, lm_safetensors **out) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return lm_fail(e, LM_MODEL, "can't read '%.200s': %m", path);
    void *map = NULL;
    size_t size = 0;
    lm_status status = map_file(e, path, fd, &map, &size);
    close(fd);
    LM_TRY(status);
    status = lm_safetensors_parse(e, path, map, size, out);
    if (status != LM_OK) {
        munmap(map, size);
        return status;
    }
    (*out)->map = map;
    (*out)->map_size = size;
    return LM_OK;
}

void lm_safetensors_free(lm_safetensors **s) {
    if (!*s) return;
    if ((*s)->map) munmap((*s)->map, (*s)->map_size);
    lm_arena_free(&(*s)->arena);
    lm_free(*s);
    *s = NULL;
}

int lm_safetensors_count(const lm_safetensors *s) {
    return s->count;
}

const lm_stored *lm_safetensors_at(const lm_safetensors *s, int i) {
    return &s->tensors[i];
}

const lm_stored *lm_safetensors_find(const lm_safetensors *s, const char *name) {
    if (s->count == 0) return NULL;
    const lm_stored wanted = {.name = name}, *key = &wanted;
    const lm_stored **found = bsearch(&key, s->by_name, (size_t)s->count, sizeof *s->by_name, by_name);
    return found ? *found : NULL;
}

const char *lm_safetensors_metadata(const lm_safetensors *s, const char *key) {
    for (int i = 0; i < s->metadata; i++)
        if (!strcmp(s->keys[i], key)) return s->values[i];
    return NULL;
}

static lm_status rows_from_i8(lm_error *e, const lm_safetensors *s, const lm_stored *t, float *out) {
    char *name = lm_format("%s.scale", t->name);
    if (!name) return lm_fail_memory(e, (double)strlen(t->name), s->file);
    const lm_stored *scales = lm_safetensors_find(s, name);
    lm_free(name);
    if (!scales) return bad(e, s, t->name, "is in 8 bits and its '.scale' is missing");
    if (t->rank < 1 || scales->type != LM_ST_F32 || scales->rank != 1 || scales->dim[0] != t->dim[0])
        return bad(e, s, scales->name, "is not F32 with one value a row");
    const int8_t *from = t->data;
    int64_t columns = t->dim[0] ? (int64_t)t->bytes / t->dim[0] : 0;
    for (int64_t row = 0; row < t->dim[0]; row++) {
        float scale;
        memcpy(&scale, (const char *)scales->data + row * 4, 4);
        for (int64_t i = 0; i < columns; i++) *out++ = (float)*from++ * scale;
    }
    return LM_OK;
}

lm_status lm_safetensors_floats(lm_error *e, const lm_safetensors *s, const lm_stored *t, float *out) {
    const uint8_t *from = t->data; // not aligned when the header's length isn't
    size_t n = t->bytes / lm_store_type_size(t->type);
    uint16_t bits;
    double value;
    switch (t->type) {
    case LM_ST_F32:
        if (n > 0) memcpy(out, from, t->bytes);
        return LM_OK;
    case LM_ST_F16:
        for (size_t i = 0; i < n; i++) memcpy(&bits, from + 2 * i, 2), out[i] = lm_float_from_f16(bits);
        return LM_OK;
    case LM_ST_BF16:
        for (size_t i = 0; i < n; i++) memcpy(&bits, from + 2 * i, 2), out[i] = lm_float_from_bf16(bits);
        return LM_OK;
    case LM_ST_F64:
        for (size_t i = 0; i < n; i++) memcpy(&value, from + 8 * i, 8), out[i] = (float)value;
        return LM_OK;
    case LM_ST_I8:
        return rows_from_i8(e, s, t, out);
    default:
        return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' has the type %s; a weight has F32, F16, BF16, F64 or I8",
                       s->file, t->name, lm_store_type_name(t->type));
    }
}
