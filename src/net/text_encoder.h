// The frozen text encoder, MiniLM-L6 (BERT; Wang et al., arXiv 2002.10957): a tokeniser and a network.
#pragma once
#include "device/device.h"

typedef struct lm_text_encoder lm_text_encoder;

// folder: config.json, vocab.txt, and model.safetensors, which is read when a text is first encoded. tokens: kept of a
// text. Runs in fp32. LM_MODEL on anything missing or wrong.
lm_status lm_text_encoder_open(lm_error *e, lm_device *d, const char *folder, int tokens, lm_text_encoder **out);
void lm_text_encoder_free(lm_text_encoder **t);
lm_status lm_text_encoder_load(lm_error *e, lm_text_encoder *t); // the weights now
int lm_text_encoder_width(const lm_text_encoder *t);
int lm_text_encoder_tokens(const lm_text_encoder *t);
// Tokenises alone: LM_USAGE as lm_tokenizer_encode, and its lost, which may be NULL.
lm_status lm_text_encoder_read(lm_error *e, const lm_text_encoder *t, const char *text, int64_t *lost);
// The last hidden states of a text, states [tokens][width], zeros past the real tokens, and which those are, mask
// [tokens]: 1 = real token. "" is a valid prompt. A text always takes the plan of 8 texts of the multiple of 8 tokens
// that it just fits in, so its states are the same to the last bit whatever is encoded with it or was before, and for
// any number of threads. A plan is made when first needed.
lm_status lm_text_encode(lm_error *e, lm_text_encoder *t, const char *text, float *states, float *mask);
// n texts at once: states [n][tokens][width], mask [n][tokens]. The same as one by one, but faster.
lm_status lm_text_encode_many(lm_error *e, lm_text_encoder *t, const char *const *texts, int n, float *states,
                              float *mask);
