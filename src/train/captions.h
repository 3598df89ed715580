// The caption of a training clip.
#pragma once
#include "base/random.h"
#include "train/augment.h"

typedef struct lm_caption_shares {
    double wording; // told in other words and in any order
    double caption; // the caption itself; the others are drawn evenly from it and its paraphrases
} lm_caption_shares;

// One of the sprite's captions, then, separated by commas: the motion, or now and then the sprite's own where it has
// one and is not moved; the background's colour, always unless it is white. motion and color are indices of augment.h,
// motion 0 for a picture. Free with lm_free; NULL when memory is short.
char *lm_caption_compose(const lm_sprite *sprite, int motion, int color, const lm_caption_shares *shares,
                         lm_stream *random);
