// A text as the networks take it.
#include "pipeline/context.h"

lm_status lm_text_input_encode(lm_error *e, lm_text_encoder *encoder, const char *text, text_input *out) {
    const size_t tokens = (size_t)lm_text_encoder_tokens(encoder), width = (size_t)lm_text_encoder_width(encoder);
    out->states = lm_alloc(tokens * width, sizeof(float));
    out->mask = lm_alloc(tokens, sizeof(float));
    if (!out->states || !out->mask)
        return lm_fail_memory(e, (double)(tokens * width) * sizeof(float), "the text states");
    return lm_text_encode(e, encoder, text, out->states, out->mask);
}

void lm_text_input_free(text_input *t) {
    lm_free(t->states);
    lm_free(t->mask);
    *t = (text_input){0};
}
