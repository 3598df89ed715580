// The frozen text encoder: MiniLM-L6 (BERT; Wang et al., arXiv 2002.10957) as a graph on the same engine.
#pragma once
#include "device/device.h"

enum { LM_TEXT_TOKENS = 32 };
typedef struct lm_text_encoder lm_text_encoder;

// folder: config.json, model.safetensors, vocab.txt. Runs in fp32. LM_MODEL on anything missing or wrong.
lm_status lm_text_encoder_open(lm_error *e, lm_device *d, const char *folder, lm_text_encoder **out);
void lm_text_encoder_free(lm_text_encoder **t);
int lm_text_encoder_width(const lm_text_encoder *t);
// The last hidden states of a text, states [LM_TEXT_TOKENS][width], zeros past the real tokens, and which those are,
// mask [LM_TEXT_TOKENS]: 1 = real token. "" is a valid prompt. lost: as lm_tokenizer_encode's, may be NULL. A text
// always takes the plan of LM_TEXT_BATCH texts of 8, 16, 24 or 32 tokens that it just fits in, so its states are the
// same to the last bit whatever is encoded with it or was before, and for any number of threads. A plan is made when
// first needed.
enum { LM_TEXT_BATCH = 8 };
lm_status lm_text_encode(lm_error *e, lm_text_encoder *t, const char *text, float *states, float *mask, int64_t *lost);
// n texts at once: states [n][LM_TEXT_TOKENS][width], mask [n][LM_TEXT_TOKENS]. The same as one by one, but faster.
lm_status lm_text_encode_many(lm_error *e, lm_text_encoder *t, const char *const *texts, int n, float *states,
                              float *mask);
