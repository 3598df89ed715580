#include "diffusion/multidiffusion.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

lm_windows lm_windows_make(int length, int window, int overlap) {
    assert(length > 0 && window > 0 && overlap >= 0);
    assert(overlap < window);
    lm_windows w = {.length = length, .window = window < length ? window : length, .count = 1};
    w.stride = window - overlap;
    int rest = length - w.window;
    if (rest > 0) w.count += (rest + w.stride - 1) / w.stride;
    return w;
}

int lm_window_start(const lm_windows *w, int i) {
    assert(i >= 0 && i < w->count);
    return i + 1 < w->count ? i * w->stride : w->length - w->window;
}

int lm_window_cover(const lm_windows *w, int at) {
    assert(at >= 0 && at < w->length);
    int first = at < w->window ? 0 : (at - w->window) / w->stride + 1, last = at / w->stride;
    if (last > w->count - 2) last = w->count - 2; // the last window is counted on its own
    return (last >= first ? last - first + 1 : 0) + (at >= w->length - w->window);
}

int64_t lm_grid_floats(const lm_grid *g) {
    return (int64_t)g->time.window * g->rows.window * g->columns.window * g->channels;
}

// Floats before the first of a window's row.
static int64_t row_offset(const lm_grid *g, int frame, int y, int x) {
    return (((int64_t)frame * g->rows.length + y) * g->columns.length + x) * g->channels;
}

// Whether a window lies in the whole, from the frame on that is in memory first.
__attribute__((unused)) static bool window_fits(const lm_grid *g, int frame, int y, int x) {
    return frame >= 0 && frame + g->time.window <= g->time.length && y >= 0 && y + g->rows.window <= g->rows.length &&
           x >= 0 && x + g->columns.window <= g->columns.length;
}

void lm_grid_take(const lm_grid *g, int i, int row, int column, const float *clip, int first_frame, float *out) {
    int frame = lm_window_start(&g->time, i) - first_frame, y = lm_window_start(&g->rows, row);
    int x = lm_window_start(&g->columns, column);
    assert(window_fits(g, frame, y, x));
    int64_t n = (int64_t)g->columns.window * g->channels;
    for (int f = 0; f < g->time.window; f++)
        for (int r = 0; r < g->rows.window; r++, out += n)
            memcpy(out, clip + row_offset(g, frame + f, y + r, x), (size_t)n * sizeof *out);
}

void lm_grid_add(const lm_grid *g, int i, int row, int column, const float *v, float *sum, int first_frame) {
    int frame = lm_window_start(&g->time, i) - first_frame, y = lm_window_start(&g->rows, row);
    int x = lm_window_start(&g->columns, column);
    assert(window_fits(g, frame, y, x));
    int64_t n = (int64_t)g->columns.window * g->channels;
    for (int f = 0; f < g->time.window; f++)
        for (int r = 0; r < g->rows.window; r++, v += n) {
            float *to = sum + row_offset(g, frame + f, y + r, x);
            for (int64_t k = 0; k < n; k++) to[k] += v[k];
        }
}

void lm_grid_divide(const lm_grid *g, float *sum, int first_frame, int frames) {
    assert(first_frame >= 0 && frames >= 0 && first_frame + frames <= g->time.length);
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < g->rows.length; y++) {
            int outer = lm_window_cover(&g->time, first_frame + f) * lm_window_cover(&g->rows, y);
            for (int x = 0; x < g->columns.length; x++, sum += g->channels) {
                int cover = outer * lm_window_cover(&g->columns, x);
                if (cover == 1) continue;
                for (int c = 0; c < g->channels; c++) sum[c] /= (float)cover;
            }
        }
}
