#include "train/text_cache.h"

#include "base/hash.h"
#include "base/memory.h"
#include "store/element.h"

#include <string.h>

enum {
    CACHE_ROOM = 1 << 17, // slots of the table
    CACHE_LIMIT = 60000,  // captions kept (some 10 KB each) before it starts anew
    CACHE_GROUP = 64,     // captions encoded in one call
};

typedef struct entry {
    char *caption;
    uint16_t *states; // [tokens][width], IEEE half precision
    int tokens;
} entry;

struct lm_text_cache {
    lm_text_encoder *encoder;
    int width, tokens, count; // width, tokens: the encoder's
    float *states, *mask;     // of CACHE_GROUP captions
    entry *table;             // open addressing, CACHE_ROOM slots
};

lm_status lm_text_cache_create(lm_error *e, lm_text_encoder *encoder, lm_text_cache **out) {
    lm_text_cache *c = *out = lm_alloc_zero(1, sizeof *c);
    if (!c) return lm_fail_memory(e, sizeof *c, "the text cache");
    c->encoder = encoder;
    c->width = lm_text_encoder_width(encoder);
    c->tokens = lm_text_encoder_tokens(encoder);
    c->states = lm_alloc((size_t)CACHE_GROUP * (size_t)c->tokens * (size_t)c->width, sizeof(float));
    c->mask = lm_alloc(CACHE_GROUP * (size_t)c->tokens, sizeof(float));
    c->table = lm_alloc_zero(CACHE_ROOM, sizeof *c->table);
    if (c->states && c->mask && c->table) return LM_OK;
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
    lm_free(c->states);
    lm_free(c->mask);
    lm_free(c);
    *cache = NULL;
}

static entry *find(const lm_text_cache *c, const char *caption) {
    const uint64_t h = lm_hash64_more(LM_HASH64_START, caption, strlen(caption));
    for (uint64_t i = h ^ h >> 32;; i++) {
        entry *x = &c->table[i % CACHE_ROOM];
        if (!x->caption || !strcmp(x->caption, caption)) return x;
    }
}

// Keeps a caption's states [tokens][width].
static lm_status keep(lm_error *e, lm_text_cache *c, const char *caption, const float *states, const float *mask) {
    entry *x = find(c, caption);
    if (x->caption) return LM_OK; // it stood twice among those encoded
    int tokens = 0;
    while (tokens < c->tokens && mask[tokens] > 0) tokens++;
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
    for (size_t i = 0; i < n; i++) x->states[i] = lm_f16_from_float(states[i]);
    c->count++;
    return LM_OK;
}

// Makes sure that n <= CACHE_GROUP captions are known.
static lm_status learn(lm_error *e, lm_text_cache *c, const char *const *captions, int n) {
    const char *unknown[CACHE_GROUP];
    int count = 0;
    if (c->count > CACHE_LIMIT - n) clear(c);
    for (int i = 0; i < n; i++)
        if (!find(c, captions[i])->caption) unknown[count++] = captions[i];
    LM_TRY(lm_text_encode_many(e, c->encoder, unknown, count, c->states, c->mask));
    for (int i = 0; i < count; i++)
        LM_TRY(keep(e, c, unknown[i], c->states + (size_t)(i * c->tokens) * (size_t)c->width, c->mask + i * c->tokens));
    return LM_OK;
}

static void copy_out(const lm_text_cache *c, const char *caption, float *states, float *mask) {
    const entry *x = find(c, caption);
    size_t n = (size_t)x->tokens * (size_t)c->width;
    for (size_t i = 0; i < n; i++) states[i] = lm_float_from_f16(x->states[i]);
    memset(states + n, 0, ((size_t)c->tokens * (size_t)c->width - n) * sizeof(float));
    for (int i = 0; i < c->tokens; i++) mask[i] = i < x->tokens;
}

lm_status lm_text_cache_get_many(lm_error *e, lm_text_cache *c, const char *const *captions, int n, float *states,
                                 float *mask) {
    for (int at = 0; at < n; at += CACHE_GROUP) {
        int count = n - at < CACHE_GROUP ? n - at : CACHE_GROUP;
        LM_TRY(learn(e, c, captions + at, count));
        for (int i = at; i < at + count; i++)
            copy_out(c, captions[i], states + (size_t)i * (size_t)c->tokens * (size_t)c->width, mask + i * c->tokens);
    }
    return LM_OK;
}

lm_status lm_text_cache_get(lm_error *e, lm_text_cache *c, const char *caption, float *states, float *mask) {
    return lm_text_cache_get_many(e, c, &caption, 1, states, mask);
}
