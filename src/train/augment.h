// What training adds to a sprite: a motion over the whole clip and a coloured background; both are said in the caption.
#pragma once
#include "train/sprite.h"
#include <stddef.h>

enum {
    LM_MOTIONS = 13,
    LM_COLORS = 13,
    LM_MOMENTS = 80, // a motion runs over this many frames; shorter clips show a part of it
};

extern const char *const lm_motion_names[LM_MOTIONS]; // the caption's phrase; 0 is "", no motion
typedef struct lm_color {
    const char *name;
    uint8_t rgb[3];
} lm_color;
extern const lm_color lm_colors[LM_COLORS]; // 0 is white

typedef struct lm_scene {
    const lm_sprite *sprite;
    int motion, color; // indices into the tables above
    int first;         // moment that the first frame shows
    int offset;        // the sprite's own frame at moment 0
} lm_scene;

// Floats that lm_scene_render needs to work in for sprites of size x size.
size_t lm_scene_scratch(int sprite_size);
// out [frames,size,size,3] in [-1,1]: the sprite moved, over its background, clamped; averaged over areas where size is
// smaller than the sprite's, which it must divide. Moments from first on must be below LM_MOMENTS.
void lm_scene_render(const lm_scene *s, int frames, int size, float *scratch, float *out);

// A rectangle of a frame.
typedef struct lm_part {
    int top, left, rows, columns;
} lm_part;
// The same at the sprite's own size, frame by frame: a part of frame f, out [rows,columns,3].
typedef struct lm_scene_pass {
    const lm_scene *scene;
    float *scratch;
    int frame, factor; // of the sprite's copy in scratch
} lm_scene_pass;
lm_scene_pass lm_scene_begin(const lm_scene *s, float *scratch);
void lm_scene_frame(lm_scene_pass *p, int f, lm_part part, float *out);
