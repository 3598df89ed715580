// Token states of captions, encoded once: the text encoder is frozen. Kept in half precision, real tokens only.
#pragma once
#include "net/text_encoder.h"
#include <stdint.h>

typedef struct lm_text_cache lm_text_cache;
lm_status lm_text_cache_create(lm_error *e, lm_text_encoder *encoder, lm_text_cache **out); // borrows encoder
void lm_text_cache_free(lm_text_cache **c);
// states [tokens][width] (zero past the real tokens), mask [tokens]. The same values whether cached or
// not.
lm_status lm_text_cache_get(lm_error *e, lm_text_cache *c, const char *caption, float *states, float *mask);
// The same for n captions, states [n][tokens][width], mask [n][tokens]; encodes those not yet known
// together.
lm_status lm_text_cache_get_many(lm_error *e, lm_text_cache *c, const char *const *captions, int n, float *states,
                                 float *mask);
