#include "train/augment.h"

#include "diffusion/cascade.h"

#include <math.h>
#include <string.h>

#define TAU 6.283185307179586

const char *const lm_motion_names[LM_MOTIONS] = {
    "",
    "moving from left to right",
    "moving from right to left",
    "rising from bottom to top",
    "falling from top to bottom",
    "bouncing up and down",
    "spinning clockwise",
    "spinning counterclockwise",
    "growing bigger",
    "getting smaller",
    "swinging from side to side",
    "moving in a circle",
    "zigzagging across",
};

const lm_color lm_colors[LM_COLORS] = {
    {"white", {255, 255, 255}},      {"black", {20, 20, 20}},    {"gray", {128, 128, 128}}, {"red", {220, 50, 50}},
    {"orange", {245, 150, 50}},      {"yellow", {250, 220, 80}}, {"green", {70, 170, 80}},  {"blue", {60, 110, 220}},
    {"light blue", {150, 205, 250}}, {"purple", {140, 80, 190}}, {"pink", {250, 160, 195}}, {"brown", {130, 85, 55}},
    {"teal", {40, 150, 150}},
};

// Where the sprite is: centre in half-frames, x right, y down; its scale; its angle in turns, clockwise.
typedef struct pose {
    double x, y, scale, turn;
} pose;

// p in [0,1] runs over the clip; the order is that of lm_motion_names.
static pose motion_pose(int motion, double p) {
    switch (motion) {
    case 1:
        return (pose){-0.85 + 1.7 * p, 0, 0.7, 0};
    case 2:
        return (pose){0.85 - 1.7 * p, 0, 0.7, 0};
    case 3:
        return (pose){0, 0.85 - 1.7 * p, 0.7, 0};
    case 4:
        return (pose){0, -0.85 + 1.7 * p, 0.7, 0};
    case 5:
        return (pose){0, 0.4 - 0.8 * fabs(sin(2 * TAU * p)), 0.7, 0};
    case 6:
        return (pose){0, 0, 0.8, 2 * p};
    case 7:
        return (pose){0, 0, 0.8, -2 * p};
    case 8:
        return (pose){0, 0, 0.4 + 0.6 * p, 0};
    case 9:
        return (pose){0, 0, 1.0 - 0.6 * p, 0};
    case 10:
        return (pose){0, 0, 0.7, 0.12 * sin(3 * TAU * p)};
    case 11:
        return (pose){0.45 * sin(2 * TAU * p), -0.45 * cos(2 * TAU * p), 0.7, 0};
    case 12:
        return (pose){-0.85 + 1.7 * p, 0.4 * sin(3 * TAU * p), 0.7, 0};
    default:
        return (pose){0, 0, 1, 0};
    }
}

// Small sprites are sampled from a copy of half or a quarter of the size, so that they don't alias.
static int copy_factor(double scale) {
    return scale >= 0.7 ? 1 : scale >= 0.35 ? 2 : 4;
}

// frame [size,size,4] -> copy [side+2,side+2,4] with side = size / factor: means of areas rounded to bytes (half to
// even), inside a border of zeros.
static void load_copy(const uint8_t *frame, int size, int factor, float *copy) {
    int side = size / factor, area = factor * factor;
    memset(copy, 0, (size_t)(side + 2) * (size_t)(side + 2) * 4 * sizeof *copy);
    for (int y = 0; y < side; y++) {
        float *to = copy + ((y + 1) * (side + 2) + 1) * 4;
        for (int x = 0; x < side; x++, to += 4) {
            const uint8_t *from = frame + (y * factor * size + x * factor) * 4;
            int sum[4] = {0};
            for (int i = 0; i < factor; i++)
                for (int j = 0; j < factor; j++)
                    for (int c = 0; c < 4; c++) sum[c] += from[(i * size + j) * 4 + c];
            for (int c = 0; c < 4; c++) {
                int mean = sum[c] / area, rest = 2 * (sum[c] % area);
                to[c] = (float)(mean + (rest > area || (rest == area && mean % 2)));
            }
        }
    }
}

static float clamped(float v) {
    return v < -1 ? -1 : v > 1 ? 1 : v;
}

// Bilinear sampling with zeros outside. copy as above; out [rows,columns,3], a part of a frame of size x size. Output
// pixel (row, column) shows the copy at x = ax * column + bx * row + cx, y likewise: the centres of pixels lie at whole
// numbers, 1 is the first inside the border.
static void sample_copy(const float *copy, int side, const pose *at, const uint8_t back[3], int size, lm_part part,
                        float *out) {
    double angle = TAU * at->turn, c = cos(angle), s = sin(angle), step = (double)side / size;
    double ax = c / at->scale * step, bx = s / at->scale * step, ay = -s / at->scale * step, by = c / at->scale * step;
    double move_x = -(c * at->x + s * at->y) / at->scale, move_y = (s * at->x - c * at->y) / at->scale;
    double cx = 0.5 * (ax + bx) * (1 - size) + 0.5 * side * (move_x + 1) + 0.5;
    double cy = 0.5 * (ay + by) * (1 - size) + 0.5 * side * (move_y + 1) + 0.5;
    float ground[3], end = (float)(side + 1);
    for (int k = 0; k < 3; k++) ground[k] = (float)back[k] / 255.0f;
    for (int row = part.top; row < part.top + part.rows; row++)
        for (int column = part.left; column < part.left + part.columns; column++, out += 3) {
            float x = (float)(ax * column + bx * row + cx), y = (float)(ay * column + by * row + cy);
            float mix[4] = {0};
            if (x > 0 && x < end && y > 0 && y < end) {
                int x0 = (int)x, y0 = (int)y;
                float fx = x - (float)x0, fy = y - (float)y0;
                const float *p = copy + (y0 * (side + 2) + x0) * 4, *q = p + (side + 2) * 4;
                for (int k = 0; k < 4; k++) {
                    float upper = p[k] * (1 - fx) + p[k + 4] * fx, lower = q[k] * (1 - fx) + q[k + 4] * fx;
                    mix[k] = (upper * (1 - fy) + lower * fy) / 255.0f;
                }
            }
            for (int k = 0; k < 3; k++) out[k] = clamped((mix[k] + (1 - mix[3]) * ground[k]) * 2 - 1);
        }
}

static size_t copy_floats(int size) {
    return (size_t)(size + 2) * (size_t)(size + 2) * 4;
}

size_t lm_scene_scratch(int sprite_size) {
    return copy_floats(sprite_size) + (size_t)sprite_size * (size_t)sprite_size * 3;
}

lm_scene_pass lm_scene_begin(const lm_scene *s, float *scratch) {
    return (lm_scene_pass){s, scratch, -1, 0};
}

void lm_scene_frame(lm_scene_pass *p, int f, lm_part part, float *out) {
    const lm_scene *s = p->scene;
    int moment = s->first + f, side = s->sprite->size, frame = (s->offset + moment) % s->sprite->frames;
    pose at = motion_pose(s->motion, (double)moment / (LM_MOMENTS - 1));
    int factor = copy_factor(at.scale);
    if (frame != p->frame || factor != p->factor)
        load_copy(s->sprite->data + (size_t)frame * side * side * 4, side, factor, p->scratch);
    p->frame = frame;
    p->factor = factor;
    sample_copy(p->scratch, side / factor, &at, lm_colors[s->color].rgb, side, part, out);
}

void lm_scene_render(const lm_scene *s, int frames, int size, float *scratch, float *out) {
    int side = s->sprite->size;
    float *picture = scratch + copy_floats(side);
    lm_scene_pass pass = lm_scene_begin(s, scratch);
    for (int f = 0; f < frames; f++, out += size * size * 3) {
        float *full = size == side ? out : picture;
        lm_scene_frame(&pass, f, (lm_part){0, 0, side, side}, full);
        if (full != out) lm_area_means(full, size, size, side / size, out);
    }
}
