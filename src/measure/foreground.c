// Where the thing in front of a plain background goes.
#include "measure/measure.h"

#include <math.h>

enum { CORNER = 3, THRESHOLD = 40 };

static const uint8_t *pixel_at(const lm_clip *c, int t, int y, int x) {
    return c->data + (((size_t)t * (size_t)c->height + (size_t)y) * (size_t)c->width + (size_t)x) * 3;
}

// Coordinate number i of the 2 * CORNER ones that lie in corners, along a side of the given length.
static int corner_place(int i, int length) {
    int at = i < CORNER ? i : length - 2 * CORNER + i;
    return at < 0 ? 0 : at >= length ? length - 1 : at;
}

static void corner_colour(const lm_clip *c, double colour[3]) {
    int64_t sum[3] = {0};
    for (int t = 0; t < c->frames; t++)
        for (int i = 0; i < 2 * CORNER; i++)
            for (int j = 0; j < 2 * CORNER; j++) {
                const uint8_t *p = pixel_at(c, t, corner_place(i, c->height), corner_place(j, c->width));
                for (int k = 0; k < 3; k++) sum[k] += p[k];
            }
    for (int k = 0; k < 3; k++) colour[k] = (double)sum[k] / (4.0 * CORNER * CORNER * c->frames);
}

static bool differs(const uint8_t *p, const double colour[3]) {
    return fabs(p[0] - colour[0]) > THRESHOLD || fabs(p[1] - colour[1]) > THRESHOLD ||
           fabs(p[2] - colour[2]) > THRESHOLD;
}

static lm_point find_centre(const lm_clip *c, int t, const double colour[3]) {
    int64_t n = 0, x_sum = 0, y_sum = 0;
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++)
            if (differs(pixel_at(c, t, y, x), colour)) {
                n++;
                x_sum += x;
                y_sum += y;
            }
    if (!n || (double)n < 0.01 * c->width * c->height) return (lm_point){NAN, NAN};
    double scale = 1 / ((double)n * c->width);
    return (lm_point){(double)x_sum * scale, (double)y_sum * scale};
}

void lm_foreground_path(const lm_clip *c, lm_point *path) {
    double colour[3];
    corner_colour(c, colour);
    for (int t = 0; t < c->frames; t++) path[t] = find_centre(c, t, colour);
}

lm_point lm_path_mean(const lm_point *path, int first, int end) {
    lm_point sum = {0, 0};
    int n = 0;
    for (int t = first; t < end; t++) {
        if (isnan(path[t].x)) continue;
        sum.x += path[t].x;
        sum.y += path[t].y;
        n++;
    }
    return n ? (lm_point){sum.x / n, sum.y / n} : (lm_point){NAN, NAN};
}
