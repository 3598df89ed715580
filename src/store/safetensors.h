// The safetensors format, read strictly through a memory map and written atomically.
// An 8-byte little-endian header length, a JSON header, then the tensors' bytes without gaps.
#pragma once
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

typedef enum lm_store_type {
    LM_ST_F32,
    LM_ST_F16,
    LM_ST_BF16,
    LM_ST_I8,
    LM_ST_U8,
    LM_ST_I32,
    LM_ST_I64,
    LM_ST_F64
} lm_store_type;

typedef struct lm_stored {
    const char *name;
    lm_store_type type;
    int rank;
    int64_t dim[8];
    const void *data; // in the map
    size_t bytes;
} lm_stored;

typedef struct lm_safetensors lm_safetensors;
lm_status lm_safetensors_open(lm_error *e, const char *path,
                              lm_safetensors **out); // LM_MODEL when missing or malformed
lm_status lm_safetensors_parse(lm_error *e, const char *name, const uint8_t *bytes, size_t size,
                               lm_safetensors **out); // borrows bytes
void lm_safetensors_free(lm_safetensors **s);
int lm_safetensors_count(const lm_safetensors *s);
const lm_stored *lm_safetensors_at(const lm_safetensors *s, int i);
const lm_stored *lm_safetensors_find(const lm_safetensors *s, const char *name); // NULL when absent
const char *lm_safetensors_metadata(const lm_safetensors *s, const char *key);   // "__metadata__"; NULL when absent

// A matrix in 8 bits NAME (I8 [O,...]) has its per-row scales beside it as NAME + ".scale" (F32 [O]): w = q *
// scale[row]. Converts to float; LM_MODEL for a type that has no meaning as a weight or 8 bits without scales.
lm_status lm_safetensors_floats(lm_error *e, const lm_safetensors *s, const lm_stored *t, float *out);

typedef struct lm_to_store {
    const char *name;
    int rank;
    int64_t dim[8];
    const void *data; // floats for F32, F16, BF16 and I8 (converted, rounded to nearest even; I8 adds NAME.scale);
                      // the type's own bytes otherwise
    lm_store_type type;
} lm_to_store;
// keys/values: count metadata strings. Temporary name, fsync, rename, fsync of the folder.
lm_status lm_safetensors_write(lm_error *e, const char *path, const lm_to_store *tensors, int count,
                               const char *const *keys, const char *const *values, int metadata);
