#include "train/sprite.h"

#include "base/memory.h"

#include <string.h>

void lm_sprite_clear(lm_sprite *s) {
    for (int i = 0; i < s->caption_count; i++) lm_free(s->captions[i]);
    lm_free(s->captions);
    lm_free(s->subject);
    lm_free(s->motion);
    lm_free(s->data);
    *s = (lm_sprite){0};
}

lm_status lm_sprites_add(lm_error *e, lm_sprites *list, lm_sprite *sprite) {
    if (list->count == LM_MAX_SPRITES)
        return lm_fail(e, LM_MEDIA, "more than %d sprites in the training data; name fewer shards", LM_MAX_SPRITES);
    if (list->count == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 256;
        lm_sprite *items = lm_realloc(list->items, (size_t)capacity, sizeof *items);
        if (!items) return lm_fail_memory(e, (double)capacity * sizeof *items, "the list of sprites");
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *sprite;
    *sprite = (lm_sprite){0};
    return LM_OK;
}

void lm_sprites_clear(lm_sprites *list) {
    for (int i = 0; i < list->count; i++) lm_sprite_clear(&list->items[i]);
    lm_free(list->items);
    *list = (lm_sprites){0};
}

bool lm_subject_is_validation(const char *subject) {
    uint32_t crc = 0xFFFFFFFFu;
    for (const unsigned char *p = (const unsigned char *)subject; *p; p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc % 20 == 0;
}

lm_status lm_sprite_alloc(lm_error *e, int frames, int size, lm_sprite *s) {
    size_t bytes = (size_t)frames * (size_t)size * (size_t)size * 4; // both are bounded by the callers
    s->data = lm_alloc(bytes, 1);
    if (!s->data) return lm_fail_memory(e, (double)bytes, "a sprite's frames");
    s->frames = frames;
    s->size = size;
    return LM_OK;
}

void lm_pixel_premultiply(const uint8_t rgba[4], uint8_t out[4]) {
    float alpha = (float)rgba[3] / 255.0f;
    for (int c = 0; c < 3; c++) out[c] = (uint8_t)((float)rgba[c] * alpha + 0.5f);
    out[3] = rgba[3];
}
