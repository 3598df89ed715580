#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include <string.h>

static lm_status reserve(lm_error *e, lm_bytes *b, size_t size) {
    if (size <= b->capacity) return LM_OK;
    size_t capacity = b->capacity ? b->capacity : 4096;
    while (capacity < size) capacity = capacity > SIZE_MAX / 2 ? size : capacity * 2;
    uint8_t *data = lm_realloc(b->data, capacity, 1);
    if (!data) return lm_fail_memory(e, (double)capacity, "encoded media");
    b->data = data;
    b->capacity = capacity;
    return LM_OK;
}

lm_status lm_bytes_write(lm_error *e, lm_bytes *b, size_t position, const void *data, size_t size) {
    size_t end;
    if (__builtin_add_overflow(position, size, &end)) return lm_fail_memory(e, (double)SIZE_MAX, "encoded media");
    LM_TRY(reserve(e, b, end));
    if (position > b->size) memset(b->data + b->size, 0, position - b->size);
    if (size) memcpy(b->data + position, data, size);
    if (end > b->size) b->size = end;
    return LM_OK;
}

// Moves what follows position back. position is at most b->size.
lm_status lm_bytes_insert(lm_error *e, lm_bytes *b, size_t position, const void *data, size_t size) {
    LM_TRY(reserve(e, b, b->size + size));
    memmove(b->data + position + size, b->data + position, b->size - position);
    memcpy(b->data + position, data, size);
    b->size += size;
    return LM_OK;
}

void lm_bytes_free(lm_bytes *b) {
    lm_free(b->data);
    *b = (lm_bytes){0};
}

lm_status lm_media_store(lm_error *e, const char *path, const lm_bytes *bytes) {
    lm_file_writer *w;
    LM_TRY(lm_file_create(e, path, LM_MEDIA, &w));
    lm_file_append(e, w, bytes->data, bytes->size); // a failure is kept until the commit
    return lm_file_commit(e, &w);
}
