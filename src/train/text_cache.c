#include "train/text_cache.h"

#include "base/memory.h"
#include "store/element.h"

#include <string.h>

enum {
    CACHE_ROOM = 1 << 17,
    CACHE_LIMIT = 60000
}; // slots of the table; captions kept (some 10 KB each) before it starts anew

typedef struct entry {
    char *caption;
    uint16_t *states; // [tokens][width], IEEE half precision
    int tokens;
} entry;

struct lm_text_cache {
    lm_text_encoder *encoder;
    int width, count;
    float *scratch, *mask; // one caption's
    entry *table;          // open addressing, CACHE_ROOM slots
};

lm_status lm_text_cache_create(lm_error *e, lm_text_encoder *encoder, lm_text_cache **out) {
    lm_text_cache *c = *out = lm_alloc_zero(1, sizeof *c);
    if (!c) return lm_fail_memory(e, sizeof *c, "the text cache");
    c->encoder = encoder;
    c->width = lm_text_encoder_width(encoder);
    c->scratch = lm_alloc((size_t)LM_TEXT_TOKENS * (size_t)c->width, sizeof(float));
    c->mask = lm_alloc(LM_TEXT_TOKENS, sizeof(float));
    c->table = lm_alloc_zero(CACHE_ROOM, sizeof *c->table);
    if (c->scratch && c->mask && c->table) return LM_OK;
    lm_text_cache_free(out);
    return lm_fail_memory(e, CACHE_ROOM * sizeof(entry), "the text cache");
}

static void clear(lm_text_cache *c) {
    for (int i = 0; i < CACHE_ROOM && c->table; i++) {
        lm_free(c->table[i].caption);
        lm_free(c->table[i].states);
        c->table[i] = (entry){0};
    }
    c->count = 0;
}

void lm_text_cache_free(lm_text_cache **cache) {
    lm_text_cache *c = *cache;
    if (!c) return;
    clear(c);
    lm_free(c->table);
    lm_free(c->scratch);
    lm_free(c->mask);
    lm_free(c);
    *cache = NULL;
}

static entry *find(const lm_text_cache *c, const char *caption) {
    uint64_t h = 14695981039346656037u; // FNV-1a
    for (const char *s = caption; *s; s++) h = (h ^ (unsigned char)*s) * 1099511628211u;
    for (uint64_t i = h ^ h >> 32;; i++) {
        entry *x = &c->table[i % CACHE_ROOM];
        if (!x->caption || !strcmp(x->caption, caption)) return x;
    }
}

static lm_status encode(lm_error *e, lm_text_cache *c, const char *caption, entry *x) {
    LM_TRY(lm_text_encode(e, c->encoder, caption, c->scratch, c->mask, NULL));
    int tokens = 0;
    while (tokens < LM_TEXT_TOKENS && c->mask[tokens] > 0) tokens++;
    size_t n = (size_t)tokens * (size_t)c->width;
    x->states = lm_alloc(n, sizeof *x->states);
    x->caption = lm_strdup(caption);
    if (!x->states || !x->caption) {
        lm_free(x->states);
        lm_free(x->caption);
        *x = (entry){0};
        return lm_fail_memory(e, (double)n * 2, "the text cache");
    }
    x->tokens = tokens;
    for (size_t i = 0; i < n; i++) x->states[i] = lm_f16_from_float(c->scratch[i]);
    c->count++;
    return LM_OK;
}

lm_status lm_text_cache_get(lm_error *e, lm_text_cache *c, const char *caption, float *states, float *mask) {
    entry *x = find(c, caption);
    if (!x->caption && c->count >= CACHE_LIMIT) {
        clear(c);
        x = find(c, caption);
    }
    if (!x->caption) LM_TRY(encode(e, c, caption, x));
    size_t n = (size_t)x->tokens * (size_t)c->width;
    for (size_t i = 0; i < n; i++) states[i] = lm_float_from_f16(x->states[i]);
    memset(states + n, 0, ((size_t)LM_TEXT_TOKENS * (size_t)c->width - n) * sizeof(float));
    for (int i = 0; i < LM_TEXT_TOKENS; i++) mask[i] = i < x->tokens;
    return LM_OK;
}
