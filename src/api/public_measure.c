// Measures of the public interface: coherence of a clip, slices through it, two clips beside each other.
#include "api/done.h"

#include "base/memory.h"
#include "diffusion/multidiffusion.h"
#include "measure/measure.h"

#include <math.h>
#include <string.h>

static double mean(const double *values, int count) {
    double sum = 0;
    int n = 0;
    for (int i = 0; i < count; i++)
        if (!isnan(values[i])) sum += values[i], n++;
    return n ? sum / n : NAN;
}

static double quotient(double a, double b) {
    return b > 0 ? a / b : NAN;
}

static lm_status check_options(lm_error *e, const lm_clip *c, const lumiere_measure_options *o) {
    if (o->window < 0 || (o->window > 0 && (o->overlap < 0 || o->overlap >= o->window)))
        return lm_fail(e, LM_USAGE, "windows of %d frames that share %d; they can share 0 to %d", o->window, o->overlap,
                       o->window > 0 ? o->window - 1 : 0);
    if (o->reference && o->window < 1)
        return lm_fail(e, LM_USAGE, "a reference is compared with at windows' borders, and no windows are given");
    if (o->reference && o->reference->clip.frames != c->frames)
        return lm_fail(e, LM_USAGE, "the reference has %d frames, the clip %d; they must have as many",
                       o->reference->clip.frames, c->frames);
    return LM_OK;
}

static lm_status allocate(lm_error *e, const lm_clip *c, lumiere_measures *m) {
    size_t n = (size_t)c->frames;
    double *block = lm_alloc_zero(5 * n, sizeof *block);
    if (!block) return lm_fail_memory(e, 5.0 * (double)n * sizeof *block, "the figures");
    *m = (lumiere_measures){.frames = c->frames, .width = c->width, .height = c->height, .fps = c->fps};
    m->differences = block;
    m->flickers = block + n;
    m->warp_errors = block + 2 * n;
    m->path_x = block + 3 * n;
    m->path_y = block + 4 * n;
    return LM_OK;
}

static void measure_differences(const lm_clip *c, lumiere_measures *m) {
    int n = c->frames;
    double level_sum = 0;
    for (int t = 1; t < n; t++) m->differences[t - 1] = lm_frame_difference(c, t - 1, t);
    for (int t = 1; t < n - 1; t++) {
        m->flickers[t - 1] = lm_second_difference(c, t);
        level_sum += fabs(lm_frame_level(c, t - 1) - 2 * lm_frame_level(c, t) + lm_frame_level(c, t + 1));
    }
    m->difference = mean(m->differences, n - 1);
    m->flicker = mean(m->flickers, n - 2);
    m->level_flicker = n > 2 ? level_sum / (n - 2) : NAN;
    m->loop_difference = n > 1 ? lm_frame_difference(c, 0, n - 1) : NAN;
    m->loop_ratio = quotient(m->loop_difference, m->difference);
}

// Mean differences of a clip at windows' borders and elsewhere.
typedef struct seams {
    double border, rest;
    int borders;
} seams;

// Neighbours that are not held by the same windows: a window begins or ends between them.
static bool is_border(const lm_windows *w, int t) {
    for (int i = 0; i < w->count; i++) {
        int start = lm_window_start(w, i);
        if (t == start || t == start + w->window) return true;
    }
    return false;
}

static seams find_seams(const lm_clip *c, const lm_windows *w) {
    seams s = {0};
    for (int t = 1; t < c->frames; t++) {
        double d = lm_frame_difference(c, t - 1, t);
        bool border = is_border(w, t);
        s.borders += border;
        *(border ? &s.border : &s.rest) += d;
    }
    s.border = s.borders ? s.border / s.borders : NAN;
    int others = c->frames - 1 - s.borders;
    s.rest = others > 0 ? s.rest / others : NAN;
    return s;
}

static void measure_seams(const lm_clip *c, const lumiere_measure_options *o, lumiere_measures *m) {
    m->border_difference = m->seam_ratio = m->border_gain = m->rest_gain = NAN;
    if (o->window < 1) return;
    lm_windows w = lm_windows_make(c->frames, o->window, o->overlap);
    seams own = find_seams(c, &w);
    m->borders = own.borders;
    m->border_difference = own.border;
    m->seam_ratio = quotient(own.border, own.rest);
    if (!o->reference) return;
    seams other = find_seams(&o->reference->clip, &w);
    m->border_gain = quotient(own.border, other.border);
    m->rest_gain = quotient(own.rest, other.rest);
}

static double range(const double *values, int count) {
    double least = INFINITY, most = -INFINITY;
    for (int i = 0; i < count; i++) {
        least = fmin(least, values[i]); // both pass over NaN
        most = fmax(most, values[i]);
    }
    return most >= least ? most - least : NAN;
}

static lm_status measure_path(lm_error *e, const lm_clip *c, lumiere_measures *m) {
    int n = c->frames, fifth = n < 5 ? 1 : n / 5;
    lm_point *path = lm_alloc((size_t)n, sizeof *path);
    if (!path) return lm_fail_memory(e, (double)n * sizeof *path, "the figures");
    lm_foreground_path(c, path);
    lm_point first = lm_path_mean(path, 0, fifth), last = lm_path_mean(path, n - fifth, n);
    for (int t = 0; t < n; t++) {
        m->path_x[t] = path[t].x;
        m->path_y[t] = path[t].y;
    }
    lm_free(path);
    m->moved_x = last.x - first.x;
    m->moved_y = last.y - first.y;
    m->range_x = range(m->path_x, n);
    m->range_y = range(m->path_y, n);
    return LM_OK;
}

static lm_status measure_flow(lm_error *e, const lm_clip *c, int threads, bool wanted, lumiere_measures *m) {
    int pairs = c->frames - 1;
    m->warp_error = m->warp_covered = m->speed = NAN;
    for (int i = 0; i < pairs; i++) m->warp_errors[i] = NAN;
    if (!wanted || !pairs) return LM_OK;
    lm_warp_figures *figures = lm_alloc((size_t)pairs, sizeof *figures);
    if (!figures) return lm_fail_memory(e, (double)pairs * sizeof *figures, "the figures");
    lm_status status = lm_warp_errors(e, c, threads, figures);
    double covered = 0, length = 0;
    for (int i = 0; status == LM_OK && i < pairs; i++) {
        m->warp_errors[i] = figures[i].error;
        covered += figures[i].covered;
        if (figures[i].covered > 0) length += figures[i].speed * figures[i].covered;
    }
    lm_free(figures);
    LM_TRY(status);
    m->warp_error = mean(m->warp_errors, pairs);
    m->warp_covered = covered / pairs;
    m->speed = quotient(length, covered);
    return LM_OK;
}

lumiere_status lumiere_measure(lumiere_context *c, const lumiere_clip *clip, const lumiere_measure_options *options,
                               lumiere_measures *out) {
    const lumiere_measure_options none = {0}, *o = options ? options : &none;
    const lm_clip *frames = &clip->clip;
    lm_error e = {0};
    *out = (lumiere_measures){0};
    lm_status status = check_options(&e, frames, o);
    if (status == LM_OK) status = allocate(&e, frames, out);
    if (status == LM_OK) {
        measure_differences(frames, out);
        measure_seams(frames, o, out);
        status = measure_path(&e, frames, out);
    }
    if (status == LM_OK) status = measure_flow(&e, frames, c->threads, !o->no_flow, out);
    if (status != LM_OK) lumiere_measures_free(out);
    return lm_api_done(c, status, &e);
}

void lumiere_measures_free(lumiere_measures *m) {
    lm_free(m->differences);
    *m = (lumiere_measures){0};
}

lumiere_status lumiere_clip_slice(lumiere_context *c, const lumiere_clip *clip, lumiere_slice axis, int at,
                                  lumiere_clip **out) {
    lm_error e = {0};
    lm_status status = LM_OK;
    *out = lm_alloc_zero(1, sizeof **out);
    if (!*out) status = lm_fail_memory(&e, sizeof **out, "a picture");
    lm_slice_axis way = axis == LUMIERE_SLICE_XT ? LM_SLICE_ROW : LM_SLICE_COLUMN;
    if (status == LM_OK) status = lm_clip_slice(&e, &clip->clip, way, at, &(*out)->clip);
    if (status != LM_OK) lumiere_clip_free(out);
    return lm_api_done(c, status, &e);
}

static lumiere_comparison compare(const lm_clip *a, const lm_clip *b) {
    lumiere_comparison r = {a->frames < b->frames ? a->frames : b->frames, NAN, NAN};
    if (a->width != b->width || a->height != b->height) return r;
    double square;
    lm_clip_distance(a, b, &r.difference, &square);
    r.psnr = square > 0 ? 10 * log10(255.0 * 255.0 / square) : INFINITY;
    return r;
}

static lm_status join(lm_error *e, const lm_clip *a, const lm_clip *b, const lumiere_compare_options *o, lm_clip *out) {
    enum { MOST_GAP = 1024 };
    if (o->gap < 0 || o->gap > MOST_GAP)
        return lm_fail(e, LM_USAGE, "a gap of %d pixels; it can have 0 to %d", o->gap, MOST_GAP);
    LM_TRY(lm_side_by_side(e, a, b, o->gap, o->shortest, out));
    out->fps = o->fps > 0 ? o->fps : a->fps > 0 ? a->fps : b->fps > 0 ? b->fps : 16;
    return LM_OK;
}

lumiere_status lumiere_compare(lumiere_context *c, const lumiere_clip *a, const lumiere_clip *b,
                               const lumiere_compare_options *options, lumiere_clip **side_by_side,
                               lumiere_comparison *figures) {
    const lumiere_compare_options none = {0}, *o = options ? options : &none;
    lm_error e = {0};
    lm_status status = LM_OK;
    if (figures) *figures = compare(&a->clip, &b->clip);
    if (side_by_side) {
        *side_by_side = lm_alloc_zero(1, sizeof **side_by_side);
        status = *side_by_side ? join(&e, &a->clip, &b->clip, o, &(*side_by_side)->clip)
                               : lm_fail_memory(&e, sizeof **side_by_side, "a clip");
        if (status != LM_OK) lumiere_clip_free(side_by_side);
    }
    return lm_api_done(c, status, &e);
}
