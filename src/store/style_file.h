// A style: the difference of a fine-tuned network's image layers to the network's own, as a small safetensors file.
// docs/model-format.md has the tensors and the metadata.
#pragma once
#include "store/file_digest.h"
#include "store/model_folder.h"

enum { LM_STYLE_MOST_RANK = 256, LM_STYLE_NAME = 64 };

typedef struct lm_style_facts {
    const char *name;      // see lm_style_name_ok
    const char *licence;   // an SPDX expression
    const char *made_from; // what it was trained on, in words
    int rank;              // of the differences of matrices; 0: 8-bit rows
} lm_style_facts;

// a-z, 0-9, '_' and '-', at most LM_STYLE_NAME of them.
bool lm_style_name_ok(const char *name);

// Names the slots that no style changes.
typedef lm_skip_fn lm_not_styled_fn;

// 16 hex digits of a SHA-256 over the names, shapes and fp32 values of the slots that styles change, in the order of
// their names: the same for an image network and its inflation.
lm_status lm_style_base_hash(lm_error *e, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                             const float *block, char out[LM_DIGEST_TEXT]);

// styled and original: blocks with the same slots.
lm_status lm_style_write(lm_error *e, const char *path, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                         const float *styled, const float *original, const lm_style_facts *facts);

typedef struct lm_style lm_style;
// LM_MODEL: missing, malformed, or not a style.
lm_status lm_style_open(lm_error *e, const char *path, lm_style **out);
void lm_style_free(lm_style **s);
lm_style_facts lm_style_describe(const lm_style *s); // texts live as long as s
const char *lm_style_base(const lm_style *s);        // the hash of the base it fits
const char *lm_style_hash(const lm_style *s);        // 16 hex digits of the file's bytes
bool lm_is_style(const lm_safetensors *f);           // whether the metadata say so

// block += alpha x difference. LM_MODEL: made for another base, a tensor missing, unknown, of another shape or not
// finite; the block is then neither the one nor the other. alpha 0 changes no bit.
lm_status lm_style_add(lm_error *e, const lm_style *s, const lm_slot *slots, int count, lm_not_styled_fn not_styled,
                       const char *base_hash, double alpha, float *block);
