// Writing styles: low-rank factors in 8 bits where that is smaller than 8-bit rows, vectors in fp32.
#include "store/style_file.h"

#include "base/memory.h"
#include "store/low_rank.h"

#include <stdio.h>
#include <string.h>

typedef struct writing {
    lm_to_store *tensors; // two a slot
    int count;
    lm_arena memory;   // names and values
    float *difference; // of the slot at hand
} writing;

static lm_status no_memory(lm_error *e, int64_t n) {
    return lm_fail_memory(e, (double)n * sizeof(float), "a style");
}

static lm_status add(lm_error *e, writing *w, const lm_slot *slot, const char *ending, lm_to_store tensor) {
    size_t n = strlen(slot->name) + strlen(ending) + 1;
    char *name = lm_arena_alloc(&w->memory, n);
    if (!name) return no_memory(e, (int64_t)n);
    snprintf(name, n, "%s%s", slot->name, ending);
    tensor.name = name;
    w->tensors[w->count++] = tensor;
    return LM_OK;
}

// Bytes of 8-bit factors with their scales, of 8-bit rows with theirs.
static int64_t factor_bytes(int64_t rows, int64_t columns, int rank) {
    return rank * (rows + columns + 8);
}
static int64_t row_bytes(int64_t rows, int64_t columns) {
    return rows * (columns + 4);
}

static lm_status add_factors(lm_error *e, writing *w, const lm_slot *slot, int64_t rows, int64_t columns, int rank) {
    float *left = lm_arena_alloc(&w->memory, (size_t)(rank * (rows + columns)) * sizeof *left);
    if (!left) return no_memory(e, rank * (rows + columns));
    float *right = left + rank * rows;
    LM_TRY(lm_low_rank(e, w->difference, rows, columns, rank, left, right));
    lm_to_store l = {.rank = 2, .dim = {rank, rows}, .data = left, .type = LM_ST_I8};
    lm_to_store r = {.rank = slot->rank, .dim = {rank}, .data = right, .type = LM_ST_I8};
    for (int i = 1; i < slot->rank; i++) r.dim[i] = slot->dim[i];
    LM_TRY(add(e, w, slot, ".left", l));
    return add(e, w, slot, ".right", r);
}

static int64_t elements(const lm_slot *slot) {
    int64_t n = 1;
    for (int i = 0; i < slot->rank; i++) n *= slot->dim[i];
    return n;
}

static lm_status add_whole(lm_error *e, writing *w, const lm_slot *slot) {
    size_t bytes = (size_t)elements(slot) * sizeof(float);
    float *copy = lm_arena_alloc(&w->memory, bytes);
    if (!copy) return no_memory(e, elements(slot));
    memcpy(copy, w->difference, bytes);
    lm_to_store whole = {.rank = slot->rank, .data = copy, .type = slot->rank > 1 ? LM_ST_I8 : LM_ST_F32};
    memcpy(whole.dim, slot->dim, sizeof slot->dim);
    return add(e, w, slot, "", whole);
}

static lm_status add_slot(lm_error *e, writing *w, const lm_slot *slot, const float *styled, const float *original,
                          int rank) {
    int64_t n = elements(slot), rows = slot->rank ? slot->dim[0] : 1, columns = rows ? n / rows : 0;
    for (int64_t i = 0; i < n; i++) w->difference[i] = styled[slot->offset + i] - original[slot->offset + i];
    bool factors = slot->rank > 1 && rank > 0 && rank <= rows && rank <= columns &&
                   factor_bytes(rows, columns, rank) < row_bytes(rows, columns);
    return factors ? add_factors(e, w, slot, rows, columns, rank) : add_whole(e, w, slot);
}

static lm_status add_all(lm_error *e, writing *w, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                         const float *styled, const float *original, int rank) {
    int64_t most = 0;
    for (int i = 0; i < count; i++)
        if (elements(&slots[i]) > most) most = elements(&slots[i]);
    w->tensors = lm_alloc_zero((size_t)count, 2 * sizeof *w->tensors);
    w->difference = lm_alloc((size_t)most, sizeof *w->difference);
    if (!w->tensors || !w->difference) return no_memory(e, most);
    for (int i = 0; i < count; i++)
        if (!not_styled || !not_styled(slots[i].name)) LM_TRY(add_slot(e, w, &slots[i], styled, original, rank));
    return LM_OK;
}

lm_status lm_style_write(lm_error *e, const char *path, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                         const float *styled, const float *original, const lm_style_facts *facts) {
    char base[LM_DIGEST_TEXT], rank[16];
    if (!lm_style_name_ok(facts->name) || facts->rank < 0 || facts->rank > LM_STYLE_MOST_RANK)
        return lm_fail(e, LM_USAGE, "a style named '%.80s' of rank %d; a-z, 0-9, _ and -, and 0 to %d are possible",
                       facts->name, facts->rank, LM_STYLE_MOST_RANK);
    LM_TRY(lm_style_base_hash(e, slots, count, not_styled, original, base));
    snprintf(rank, sizeof rank, "%d", facts->rank);
    const char *keys[] = {"kind", "format", "name", "licence", "made_from", "base_hash", "rank"};
    const char *values[] = {"lumiere-style", "1", facts->name, facts->licence, facts->made_from, base, rank};
    writing w = {0};
    lm_status status = add_all(e, &w, slots, count, not_styled, styled, original, facts->rank);
    if (status == LM_OK) status = lm_safetensors_write(e, path, w.tensors, w.count, keys, values, 7);
    lm_free(w.tensors);
    lm_free(w.difference);
    lm_arena_free(&w.memory);
    return status;
}
