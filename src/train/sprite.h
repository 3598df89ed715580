// A sprite: what a shard's record or a clip of a folder becomes once decoded. Internal to the training data.
#pragma once
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct lm_sprite {
    char *subject;   // code points in hex joined by '-', or a file's name; decides the split
    char *motion;    // the record's own phrase for how it moves, or NULL
    char **captions; // the caption, then its paraphrases
    int caption_count;
    int frames, size;
    uint8_t *data; // [frames,size,size,4], RGB premultiplied by alpha
} lm_sprite;

typedef struct lm_sprites {
    lm_sprite *items;
    int count, capacity;
} lm_sprites;

enum {
    LM_MAX_SPRITE_SIDE = 512,
    LM_MAX_SPRITES = 1 << 20,
    LM_MAX_CAPTION = 1000, // bytes
    LM_MAX_CAPTIONS = 64,
};

void lm_sprite_clear(lm_sprite *s);                                         // frees what it holds
lm_status lm_sprites_add(lm_error *e, lm_sprites *list, lm_sprite *sprite); // takes what *sprite holds, zeroes it
void lm_sprites_clear(lm_sprites *list);
// zlib's crc32 of the subject's name, divisible by 20: one subject in twenty.
bool lm_subject_is_validation(const char *subject);
// (frames,size) -> data allocated, undefined. LM_MEMORY when it does not fit.
lm_status lm_sprite_alloc(lm_error *e, int frames, int size, lm_sprite *s);
// One straight RGBA pixel -> premultiplied, rounded as the stills of the shards are.
void lm_pixel_premultiply(const uint8_t rgba[4], uint8_t out[4]);
