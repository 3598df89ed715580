// A palette of 255 colours for a clip, and one transparent entry after them.
#pragma once
#include "media/coding.h"

enum { LM_PALETTE_COLORS = 255, LM_PALETTE_BINS = 1 << 18 };

typedef struct lm_palette {
    uint8_t colors[LM_PALETTE_COLORS][3];
    uint8_t nearest[LM_PALETTE_BINS]; // colour for six bits each of red, green and blue; only what the clip uses
} lm_palette;

lm_status lm_palette_make(lm_error *e, const lm_clip *clip, lm_palette **out); // free with lm_free
// A pixel's entry; pixels less than half opaque are transparent: entry LM_PALETTE_COLORS.
uint8_t lm_palette_entry(const lm_palette *p, const uint8_t *pixel, int channels);
