#include "base/memory.h"
#include "store/element.h"
#include "store/model_folder.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SHAPE_TEXT = 128 };

static void shape_text(char out[SHAPE_TEXT], int rank, const int64_t *dim) {
    size_t used = 1;
    strcpy(out, "[");
    for (int i = 0; i < rank && used < SHAPE_TEXT; i++)
        used += (size_t)snprintf(out + used, SHAPE_TEXT - used, "%s%lld", i ? "," : "", (long long)dim[i]);
    if (used < SHAPE_TEXT - 1) strcpy(out + used, "]");
}

static bool same_shape(const lm_slot *slot, const lm_stored *t) {
    for (int i = 0; i < slot->rank && slot->rank == t->rank; i++)
        if (slot->dim[i] != t->dim[i]) return false;
    return slot->rank == t->rank;
}

// Marks a tensor, and the scales of one in 8 bits, as asked for.
static lm_status mark_used(lm_error *e, const lm_safetensors *s, const lm_stored *t, bool *used) {
    const lm_stored *first = lm_safetensors_at(s, 0);
    used[t - first] = true;
    if (t->type != LM_ST_I8) return LM_OK;
    char *name = lm_format("%s.scale", t->name);
    if (!name) return lm_fail_memory(e, (double)strlen(t->name), "the name of a tensor");
    const lm_stored *scales = lm_safetensors_find(s, name);
    lm_free(name);
    if (scales) used[scales - first] = true;
    return LM_OK;
}

static lm_status load_slot(lm_error *e, const char *path, const lm_safetensors *s, const lm_stored *t,
                           const lm_slot *slot, float *out) {
    if (!same_shape(slot, t)) {
        char found[SHAPE_TEXT], wanted[SHAPE_TEXT];
        shape_text(found, t->rank, t->dim);
        shape_text(wanted, slot->rank, slot->dim);
        return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' has the shape %s; %s is needed", path, slot->name, found,
                       wanted);
    }
    LM_TRY(lm_safetensors_floats(e, s, t, out));
    size_t n = t->bytes / lm_store_type_size(t->type);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' holds a value that is not a finite number", path,
                           slot->name);
    return LM_OK;
}

static lm_status load_slots(lm_error *e, const char *path, const lm_safetensors *s, const lm_slot *slots, int count,
                            float *block, unsigned char *filled, lm_skip_fn skip, bool *used) {
    for (int i = 0; i < count; i++) {
        const lm_stored *t = lm_safetensors_find(s, slots[i].name);
        if (filled) filled[i] = t != NULL;
        if (!t && !filled) return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' is missing", path, slots[i].name);
        if (!t) continue;
        LM_TRY(load_slot(e, path, s, t, &slots[i], block + slots[i].offset));
        LM_TRY(mark_used(e, s, t, used));
    }
    for (int i = 0; i < lm_safetensors_count(s); i++) {
        const char *name = lm_safetensors_at(s, i)->name;
        if (!used[i] && !(skip && skip(name)))
            return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' is not one of the network's", path, name);
    }
    return LM_OK;
}

static lm_status load(lm_error *e, const char *path, const lm_slot *slots, int count, float *block,
                      unsigned char *filled, lm_skip_fn skip) {
    lm_safetensors *s;
    LM_TRY(lm_safetensors_open(e, path, &s));
    bool *used = lm_alloc_zero((size_t)lm_safetensors_count(s), sizeof *used);
    lm_status status = used ? load_slots(e, path, s, slots, count, block, filled, skip, used)
                            : lm_fail_memory(e, lm_safetensors_count(s), path);
    lm_free(used);
    lm_safetensors_free(&s);
    return status;
}

lm_status lm_weights_load(lm_error *e, const char *path, const lm_slot *slots, int count, float *block) {
    return load(e, path, slots, count, block, NULL, NULL);
}

lm_status lm_weights_load_some(lm_error *e, const char *path, const lm_slot *slots, int count, float *block,
                               unsigned char *filled, lm_skip_fn skip) {
    return load(e, path, slots, count, block, filled, skip);
}

lm_status lm_weights_save(lm_error *e, const char *path, const lm_slot *slots, int count, const float *block,
                          lm_store_type type, const char *const *keys, const char *const *values, int metadata) {
    if (type != LM_ST_F32 && type != LM_ST_F16 && type != LM_ST_BF16 && type != LM_ST_I8)
        return lm_fail(e, LM_USAGE, "weights can't be stored as %s; F32, F16, BF16 and I8 can",
                       lm_store_type_name(type));
    lm_to_store *tensors = lm_alloc_zero((size_t)count, sizeof *tensors);
    if (!tensors) return lm_fail_memory(e, (double)count * sizeof *tensors, path);
    for (int i = 0; i < count; i++) {
        tensors[i] = (lm_to_store){.name = slots[i].name,
                                   .rank = slots[i].rank,
                                   .data = block + slots[i].offset,
                                   .type = type == LM_ST_I8 && slots[i].rank < 2 ? LM_ST_F32 : type};
        memcpy(tensors[i].dim, slots[i].dim, sizeof slots[i].dim);
    }
    lm_status status = lm_safetensors_write(e, path, tensors, count, keys, values, metadata);
    lm_free(tensors);
    return status;
}
