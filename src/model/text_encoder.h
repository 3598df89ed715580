// The frozen text encoder: MiniLM-L6 (BERT; Wang et al., arXiv 2002.10957) as a graph on the same engine.
#pragma once
#include "device/device.h"

enum { LM_TEXT_TOKENS = 32 };
typedef struct lm_text_encoder lm_text_encoder;

// folder: config.json, model.safetensors, vocab.txt. Runs in fp32. LM_MODEL on anything missing or wrong.
lm_status lm_text_encoder_open(lm_error *e, lm_device *d, const char *folder, lm_text_encoder **out);
void lm_text_encoder_free(lm_text_encoder **t);
int lm_text_encoder_width(const lm_text_encoder *t);
// states [LM_TEXT_TOKENS][width] (last hidden state), mask [LM_TEXT_TOKENS]: 1 = real token. "" is a valid prompt.
// lost: as lm_tokenizer_encode's, may be NULL.
lm_status lm_text_encode(lm_error *e, lm_text_encoder *t, const char *text, float *states, float *mask, int64_t *lost);
