#include "net/text_encoder.h"

#include "base/memory.h"
#include "net/families/bert.h"
#include "net/network.h"
#include "text/tokenizer.h"

#include <string.h>

enum { BATCH = 8, LENGTH_STEP = 8 };

struct lm_text_encoder {
    lm_tokenizer *tokenizer;
    lm_network *network;
    lm_weights *weights; // NULL: not loaded yet
    int tokens, width;
    int32_t *ids, *types; // of one batch, [BATCH][tokens]
    float *mask, *states; // [BATCH][tokens], [BATCH][tokens][width]
};

static lm_status allocate_batch(lm_error *e, lm_text_encoder *t) {
    const size_t cells = BATCH * (size_t)t->tokens, floats = cells * (size_t)t->width;
    t->ids = lm_alloc(cells, sizeof *t->ids);
    t->types = lm_alloc_zero(cells, sizeof *t->types);
    t->mask = lm_alloc(cells, sizeof *t->mask);
    t->states = lm_alloc(floats, sizeof *t->states);
    if (t->ids && t->types && t->mask && t->states) return LM_OK;
    return lm_fail_memory(e, (double)floats * sizeof *t->states, "the text states");
}

static lm_status open_files(lm_error *e, lm_text_encoder *t, lm_device *d, const char *folder, const char *vocab) {
    LM_TRY(lm_network_open(e, d, &lm_bert_family, folder, LM_F32, &t->network));
    const lm_bert_config *c = lm_network_config(t->network);
    t->width = c->width;
    if (c->positions < t->tokens)
        return lm_fail(e, LM_MODEL,
                       "'%.200s/config.json': max_position_embeddings must be a whole number from %d to %d", folder,
                       t->tokens, 1 << 16);
    LM_TRY(lm_tokenizer_open(e, vocab, &t->tokenizer));
    if (lm_tokenizer_size(t->tokenizer) != c->tokens)
        return lm_fail(e, LM_MODEL, "'%.200s': has %d tokens; config.json's vocab_size is %d", vocab,
                       lm_tokenizer_size(t->tokenizer), c->tokens);
    return allocate_batch(e, t);
}

lm_status lm_text_encoder_open(lm_error *e, lm_device *d, const char *folder, int tokens, lm_text_encoder **out) {
    lm_text_encoder *t = *out = lm_alloc_zero(1, sizeof *t);
    char *vocab = lm_format("%s/vocab.txt", folder);
    lm_status status = LM_OK;
    if (t && vocab) {
        t->tokens = tokens;
        status = open_files(e, t, d, folder, vocab);
    } else {
        status = lm_fail_memory(e, sizeof *t, "the text encoder");
    }
    lm_free(vocab);
    if (status != LM_OK) lm_text_encoder_free(out);
    return status;
}

void lm_text_encoder_free(lm_text_encoder **encoder) {
    lm_text_encoder *t = *encoder;
    if (!t) return;
    lm_weights_let_go(&t->weights);
    lm_network_free(&t->network);
    lm_tokenizer_free(&t->tokenizer);
    lm_free(t->ids);
    lm_free(t->types);
    lm_free(t->mask);
    lm_free(t->states);
    lm_free(t);
    *encoder = NULL;
}

lm_status lm_text_encoder_load(lm_error *e, lm_text_encoder *t) {
    return t->weights ? LM_OK : lm_network_weights(e, t->network, "", NULL, NULL, &t->weights);
}

int lm_text_encoder_width(const lm_text_encoder *t) {
    return t->width;
}

int lm_text_encoder_tokens(const lm_text_encoder *t) {
    return t->tokens;
}

// A tokenised text.
typedef struct tokens {
    int32_t *ids; // [t->tokens]
    int used;
} tokens;

// The least multiple of LENGTH_STEP that a text fits in, or all tokens.
static int length_for(const lm_text_encoder *t, int used) {
    const int length = (used + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;
    return length < t->tokens ? length : t->tokens;
}

// Texts of one length, count of them at most BATCH: which[i] is a text's index in list, states and mask.
static lm_status run_batch(lm_error *e, lm_text_encoder *t, int length, const tokens *list, const int *which, int count,
                           float *states, float *mask) {
    const size_t width = (size_t)t->width, all = (size_t)t->tokens;
    for (int i = 0; i < BATCH; i++) { // the last one fills what is left
        const tokens *x = &list[which[i < count ? i : count - 1]];
        memcpy(t->ids + i * length, x->ids, (size_t)length * sizeof *t->ids);
        for (int k = 0; k < length; k++) t->mask[i * length + k] = k < x->used;
    }
    LM_TRY(lm_text_encoder_load(e, t));
    LM_TRY(lm_network_run(e, t->network, &(lm_net_use){.shape = {.batch = BATCH, .tokens = length}, .kept = true},
                          lm_weights_params(t->weights), NULL,
                          (const lm_feed[]){{"ids", t->ids}, {"types", t->types}, {"mask", t->mask}, {NULL, NULL}},
                          (const lm_fetch[]){{"states", t->states}, {NULL, NULL}}));
    for (int i = 0; i < count; i++) {
        const size_t at = (size_t)which[i] * all, used = (size_t)list[which[i]].used * width;
        memset(states + at * width, 0, all * width * sizeof *states);
        memcpy(states + at * width, t->states + (size_t)i * (size_t)length * width, used * sizeof *states);
        for (int k = 0; k < t->tokens; k++) mask[at + (size_t)k] = k < list[which[i]].used;
    }
    return LM_OK;
}

static lm_status run_all(lm_error *e, lm_text_encoder *t, const tokens *list, int count, float *states, float *mask) {
    for (int length = length_for(t, 1), longest = 0; !longest; length = length_for(t, length + 1)) {
        int which[BATCH], n = 0;
        longest = length == t->tokens;
        for (int i = 0; i < count; i++) {
            if (length_for(t, list[i].used) != length) continue;
            which[n++] = i;
            if (n < BATCH) continue;
            LM_TRY(run_batch(e, t, length, list, which, n, states, mask));
            n = 0;
        }
        if (n) LM_TRY(run_batch(e, t, length, list, which, n, states, mask));
    }
    return LM_OK;
}

lm_status lm_text_encoder_read(lm_error *e, const lm_text_encoder *t, const char *text, int64_t *lost) {
    int32_t *ids = lm_alloc((size_t)t->tokens, sizeof *ids);
    int used;
    if (!ids) return lm_fail_memory(e, (double)t->tokens * sizeof *ids, "the text's tokens");
    lm_status status = lm_tokenizer_encode(e, t->tokenizer, text, t->tokens, ids, &used, lost);
    lm_free(ids);
    return status;
}

lm_status lm_text_encode(lm_error *e, lm_text_encoder *t, const char *text, float *states, float *mask) {
    return lm_text_encode_many(e, t, &text, 1, states, mask);
}

lm_status lm_text_encode_many(lm_error *e, lm_text_encoder *t, const char *const *texts, int n, float *states,
                              float *mask) {
    if (n < 1) return LM_OK;
    tokens *list = lm_alloc((size_t)n, sizeof *list);
    int32_t *ids = lm_alloc((size_t)n * (size_t)t->tokens, sizeof *ids);
    lm_status status = list && ids ? LM_OK
                                   : lm_fail_memory(e, (double)n * (double)(sizeof *list + (size_t)t->tokens * 4),
                                                    "the texts' tokens");
    for (int i = 0; i < n && status == LM_OK; i++) {
        list[i].ids = ids + (int64_t)i * t->tokens;
        status = lm_tokenizer_encode(e, t->tokenizer, texts[i], t->tokens, list[i].ids, &list[i].used, NULL);
    }
    if (status == LM_OK) status = run_all(e, t, list, n, states, mask);
    lm_free(ids);
    lm_free(list);
    return status;
}
