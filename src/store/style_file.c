// Reading styles. A matrix's difference is NAME.left [r,O] and NAME.right [r,...], or like a vector's NAME itself.
#include "store/style_file.h"

#include "base/memory.h"
#include "store/element.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct lm_style {
    lm_safetensors *file;
    char *path;
    char hash[LM_DIGEST_TEXT];
    lm_style_facts facts;
    const char *base;
};

bool lm_style_name_ok(const char *name) {
    size_t n = strlen(name);
    return n > 0 && n <= LM_STYLE_NAME && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

// ---- the base ----

static int by_name(const void *a, const void *b) {
    return strcmp((*(const lm_slot *const *)a)->name, (*(const lm_slot *const *)b)->name);
}

static int64_t elements(const lm_slot *s) {
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++) n *= s->dim[i];
    return n;
}

lm_status lm_style_base_hash(lm_error *e, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                             const float *block, char out[LM_DIGEST_TEXT]) {
    const lm_slot **sorted = lm_alloc((size_t)count, sizeof *sorted);
    if (!sorted) return lm_fail_memory(e, (double)count * sizeof *sorted, "the list of weights");
    size_t n = 0;
    for (int i = 0; i < count; i++)
        if (!not_styled || !not_styled(slots[i].name)) sorted[n++] = &slots[i];
    if (n) qsort(sorted, n, sizeof *sorted, by_name);
    lm_digest *all = lm_digest_begin();
    uint8_t digest[LM_DIGEST_BYTES];
    for (size_t i = 0; i < n; i++) {
        const lm_slot *s = sorted[i];
        lm_digest_add(all, s->name, strlen(s->name) + 1);
        lm_digest_add(all, s->dim, (size_t)s->rank * sizeof *s->dim);
        lm_digest_add(all, block + s->offset, (size_t)elements(s) * sizeof *block);
    }
    lm_free(sorted);
    LM_TRY(lm_digest_end(e, &all, digest));
    lm_digest_text(digest, out);
    return LM_OK;
}

// ---- the file ----

bool lm_is_style(const lm_safetensors *f) {
    const char *kind = lm_safetensors_metadata(f, "kind");
    return kind && !strcmp(kind, "lumiere-style");
}

static lm_status get_text(lm_error *e, const lm_style *s, const char *key, const char **out) {
    *out = lm_safetensors_metadata(s->file, key);
    if (*out && **out) return LM_OK;
    return lm_fail(e, LM_MODEL, "'%.200s': the style's metadata have no \"%s\"", s->path, key);
}

static lm_status read_facts(lm_error *e, lm_style *s) {
    const char *format, *rank;
    if (!lm_is_style(s->file))
        return lm_fail(e, LM_MODEL, "'%.200s' is not a style; the stage style of lumiere train makes styles", s->path);
    LM_TRY(get_text(e, s, "format", &format));
    if (strcmp(format, "1") != 0)
        return lm_fail(e, LM_MODEL, "'%.200s': style format \"%.20s\" is unknown; this program reads format 1", s->path,
                       format);
    LM_TRY(get_text(e, s, "name", &s->facts.name));
    LM_TRY(get_text(e, s, "licence", &s->facts.licence));
    LM_TRY(get_text(e, s, "made_from", &s->facts.made_from));
    LM_TRY(get_text(e, s, "base_hash", &s->base));
    LM_TRY(get_text(e, s, "rank", &rank));
    if (!lm_style_name_ok(s->facts.name))
        return lm_fail(e, LM_MODEL, "'%.200s': a style can't be called '%.80s'; a-z, 0-9, _ and - are allowed", s->path,
                       s->facts.name);
    if (strlen(s->base) != 16 || strspn(s->base, "0123456789abcdef") != 16)
        return lm_fail(e, LM_MODEL, "'%.200s': base_hash \"%.40s\" is not 16 hex digits", s->path, s->base);
    size_t digits = strspn(rank, "0123456789");
    s->facts.rank = digits <= 3 ? atoi(rank) : -1;
    if (rank[digits] || s->facts.rank < 0 || s->facts.rank > LM_STYLE_MOST_RANK)
        return lm_fail(e, LM_MODEL, "'%.200s': rank \"%.20s\" is not a whole number from 0 to %d", s->path, rank,
                       LM_STYLE_MOST_RANK);
    return LM_OK;
}

lm_status lm_style_open(lm_error *e, const char *path, lm_style **out) {
    uint8_t digest[32];
    lm_style *s = *out = lm_alloc_zero(1, sizeof *s);
    if (!s || !(s->path = lm_strdup(path))) {
        lm_style_free(out);
        return lm_fail_memory(e, sizeof *s, "a style");
    }
    lm_status status = lm_safetensors_open(e, path, &s->file);
    if (status == LM_OK) status = read_facts(e, s);
    if (status == LM_OK) status = lm_file_digest(e, path, digest);
    if (status == LM_OK)
        lm_digest_text(digest, s->hash);
    else
        lm_style_free(out);
    return status;
}

void lm_style_free(lm_style **s) {
    if (!*s) return;
    lm_safetensors_free(&(*s)->file);
    lm_free((*s)->path);
    lm_free(*s);
    *s = NULL;
}

lm_style_facts lm_style_describe(const lm_style *s) {
    return s->facts;
}
const char *lm_style_base(const lm_style *s) {
    return s->base;
}
const char *lm_style_hash(const lm_style *s) {
    return s->hash;
}

// ---- adding it to weights ----

typedef struct adding {
    const lm_style *style;
    unsigned char *used; // one a tensor of the file
    float *values;       // room for the largest difference and its two factors
    double alpha;
} adding;

static lm_status find(lm_error *e, const adding *a, const char *name, const char *ending, const lm_stored **out) {
    *out = NULL;
    char *full = lm_format("%s%s", name, ending);
    if (!full) return lm_fail_memory(e, (double)strlen(name), "the name of a tensor");
    *out = lm_safetensors_find(a->style->file, full);
    if (*out) a->used[*out - lm_safetensors_at(a->style->file, 0)] = 1;
    lm_free(full);
    return LM_OK;
}

static lm_status bad(lm_error *e, const adding *a, const char *name, const char *what) {
    return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' %s", a->style->path, name, what);
}

static lm_status get_values(lm_error *e, const adding *a, const lm_stored *t, int64_t n, float *out) {
    const lm_stored *scales;
    if (t->type == LM_ST_I8) LM_TRY(find(e, a, t->name, ".scale", &scales));
    LM_TRY(lm_safetensors_floats(e, a->style->file, t, out));
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(out[i])) return bad(e, a, t->name, "holds a value that is not a finite number");
    return LM_OK;
}

// t is [first, slot's dimensions from `from` on]; first 0: [slot's dimensions]
static bool has_shape(const lm_stored *t, int64_t first, const lm_slot *slot, int from) {
    int k = first > 0;
    if (t->rank != slot->rank - from + k || (k && t->dim[0] != first)) return false;
    for (int i = from; i < slot->rank; i++)
        if (t->dim[k + i - from] != slot->dim[i]) return false;
    return true;
}

// The difference of a slot, into a->values.
static lm_status get_difference(lm_error *e, const adding *a, const lm_slot *slot, int64_t n) {
    const lm_stored *whole, *left, *right;
    LM_TRY(find(e, a, slot->name, "", &whole));
    LM_TRY(find(e, a, slot->name, ".left", &left));
    LM_TRY(find(e, a, slot->name, ".right", &right));
    if (!whole && !left && !right)
        return lm_fail(e, LM_MODEL, "'%.200s': tensor '%.100s' is missing", a->style->path, slot->name);
    if (whole) {
        if (left || right) return bad(e, a, slot->name, "is there as a whole and as a product; one is needed");
        if (!has_shape(whole, 0, slot, 0)) return bad(e, a, slot->name, "has not the shape of the network's");
        return get_values(e, a, whole, n, a->values);
    }
    if (!left || !right) return bad(e, a, slot->name, "has but one of its factors .left and .right");
    int64_t rows = slot->dim[0], columns = rows ? n / rows : 0, r = left->rank ? left->dim[0] : 0;
    if (slot->rank < 2 || r < 1 || r > LM_STYLE_MOST_RANK || r > rows || r > columns || left->rank != 2 ||
        left->dim[1] != rows || !has_shape(right, r, slot, 1))
        return bad(e, a, slot->name, "has factors that don't make the network's shape");
    float *l = a->values + n, *k = l + r * rows;
    LM_TRY(get_values(e, a, left, r * rows, l));
    LM_TRY(get_values(e, a, right, r * columns, k));
    memset(a->values, 0, (size_t)n * sizeof *a->values);
    for (int64_t y = 0; y < rows; y++)
        for (int64_t i = 0; i < r; i++) {
            float scale = l[i * rows + y], *to = a->values + y * columns;
            const float *from = k + i * columns;
            for (int64_t x = 0; x < columns; x++) to[x] += scale * from[x];
        }
    return LM_OK;
}

static lm_status add_slot(lm_error *e, const adding *a, const lm_slot *slot, float *w) {
    int64_t n = elements(slot);
    LM_TRY(get_difference(e, a, slot, n));
    for (int64_t i = 0; i < n && a->alpha != 0; i++) {
        w[i] = (float)((double)w[i] + a->alpha * (double)a->values[i]);
        if (!isfinite(w[i])) return bad(e, a, slot->name, "makes a weight that is not a finite number");
    }
    return LM_OK;
}

static lm_status add_all(lm_error *e, const adding *a, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                         float *block) {
    for (int i = 0; i < count; i++)
        if (!not_styled || !not_styled(slots[i].name)) LM_TRY(add_slot(e, a, &slots[i], block + slots[i].offset));
    for (int i = 0; i < lm_safetensors_count(a->style->file); i++)
        if (!a->used[i])
            return bad(e, a, lm_safetensors_at(a->style->file, i)->name, "is not of one of the network's image layers");
    return LM_OK;
}

lm_status lm_style_add(lm_error *e, const lm_style *s, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                       const char *base_hash, double alpha, float *block) {
    if (strcmp(s->base, base_hash) != 0)
        return lm_fail(e, LM_MODEL,
                       "'%.200s': the style '%s' was made for another base network, %s; this model's is %s", s->path,
                       s->facts.name, s->base, base_hash);
    int64_t most = 0;
    for (int i = 0; i < count; i++)
        if (elements(&slots[i]) > most) most = elements(&slots[i]);
    // a factor has no more values than the matrix: its rank is no larger than rows and columns
    adding a = {.style = s,
                .used = lm_alloc_zero((size_t)lm_safetensors_count(s->file), 1),
                .values = lm_alloc((size_t)most, 3 * sizeof *a.values),
                .alpha = alpha};
    lm_status status = a.used && a.values ? add_all(e, &a, slots, count, not_styled, block)
                                          : lm_fail_memory(e, 12.0 * (double)most, "a style");
    lm_free(a.used);
    lm_free(a.values);
    return status;
}
