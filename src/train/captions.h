// The caption of a training clip.
#pragma once
#include "base/random.h"
#include "train/augment.h"

// One of the sprite's captions, then, separated by commas: the motion, or now and then the sprite's own where it has
// one and is not moved; the background's colour, always unless it is white. motion and color are indices of augment.h,
// motion 0 for a picture. A share of the captions is told in other words and in any order. Free with lm_free; NULL when
// memory is short.
char *lm_caption_compose(const lm_sprite *sprite, int motion, int color, double wording_share, lm_stream *random);
