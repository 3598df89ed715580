#include "tasks/fit.h"

#include "base/arithmetic.h"
#include "base/memory.h"
#include "base/plain_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int within(double value, int most) {
    int n = (int)floor(value + 0.5);
    return n < 1 ? 1 : n > most ? most : n;
}

lm_fit lm_fit_make(lm_fit_kind kind, int from_width, int from_height, int width, int height) {
    lm_fit f = {from_width, from_height, width, height, 0, 0, from_width, from_height, 0, 0, width, height};
    double across = (double)width / from_width, down = (double)height / from_height;
    if (kind == LM_FIT_CROP) {
        double scale = fmax(across, down);
        f.cut_width = within(width / scale, from_width);
        f.cut_height = within(height / scale, from_height);
        f.left = (from_width - f.cut_width) / 2;
        f.top = (from_height - f.cut_height) / 2;
    } else if (kind == LM_FIT_PAD) {
        double scale = fmin(across, down);
        f.shown_width = within(from_width * scale, width);
        f.shown_height = within(from_height * scale, height);
        f.x = (width - f.shown_width) / 2;
        f.y = (height - f.shown_height) / 2;
    }
    return f;
}

// One direction of a resampling: output i is the sum of taps weights times source pixels, each kept within the source.
typedef struct axis {
    int *first;    // [to]
    float *weight; // [to, taps]
    int taps, from;
} axis;

struct lm_fitter {
    lm_fit fit;
    bool mask;
    int channels;
    axis across, down;
    float *rows; // [cut_height, shown_width, channels]: scaled across
};

static void area_weights(double start, double end, int first, int taps, float *w) {
    for (int k = 0; k < taps; k++) {
        double low = fmax(start, first + k), high = fmin(end, first + k + 1);
        w[k] = high > low ? (float)((high - low) / (end - start)) : 0;
    }
}

static lm_status axis_create(lm_error *e, int from, int to, bool mask, axis *a) {
    double ratio = (double)from / to;
    bool cubic = from < to && !mask;
    *a = (axis){.taps = from > to ? (int)ceil(ratio) + 1 : cubic ? 4 : 1, .from = from};
    a->first = lm_alloc((size_t)to, sizeof *a->first);
    a->weight = lm_alloc((size_t)to * (size_t)a->taps, sizeof *a->weight);
    if (!a->first || !a->weight) return lm_fail_memory(e, (double)to * a->taps * sizeof(float), "resampling");
    for (int i = 0; i < to; i++) {
        float *w = a->weight + (size_t)i * (size_t)a->taps;
        double centre = (i + 0.5) * ratio - 0.5, start = (double)i * from / to, end = (double)(i + 1) * from / to;
        a->first[i] = (int)floor(from > to ? start : cubic ? centre : centre + 0.5);
        if (from > to)
            area_weights(start, end, a->first[i], a->taps, w);
        else if (cubic) {
            lm_cubic_weights(centre - a->first[i], w);
            a->first[i]--;
        } else
            w[0] = 1;
    }
    return LM_OK;
}

static void axis_free(axis *a) {
    lm_free(a->first);
    lm_free(a->weight);
}

lm_status lm_fitter_create(lm_error *e, const lm_fit *fit, bool mask, lm_fitter **out) {
    lm_fitter *f = *out = lm_alloc_zero(1, sizeof *f);
    if (!f) return lm_fail_memory(e, sizeof *f, "resampling");
    *f = (lm_fitter){.fit = *fit, .mask = mask, .channels = mask ? 1 : 3};
    size_t count = (size_t)fit->cut_height * (size_t)fit->shown_width * (size_t)f->channels;
    lm_status status = axis_create(e, fit->cut_width, fit->shown_width, mask, &f->across);
    if (status == LM_OK) status = axis_create(e, fit->cut_height, fit->shown_height, mask, &f->down);
    if (status == LM_OK && !(f->rows = lm_alloc(count, sizeof *f->rows)))
        status = lm_fail_memory(e, (double)count * sizeof *f->rows, "resampling");
    if (status != LM_OK) lm_fitter_free(out);
    return status;
}

void lm_fitter_free(lm_fitter **fitter) {
    lm_fitter *f = *fitter;
    if (!f) return;
    axis_free(&f->across);
    axis_free(&f->down);
    lm_free(f->rows);
    lm_free(f);
    *fitter = NULL;
}

static int tap_at(const axis *a, int i, int k) {
    int at = a->first[i] + k;
    return at < 0 ? 0 : at >= a->from ? a->from - 1 : at;
}

static void scale_across(const lm_fitter *f, const uint8_t *from) {
    const lm_fit *t = &f->fit;
    const axis *a = &f->across;
    float *to = f->rows;
    for (int y = 0; y < t->cut_height; y++) {
        const uint8_t *row = from + ((size_t)(t->top + y) * (size_t)t->from_width + (size_t)t->left) * f->channels;
        for (int x = 0; x < t->shown_width; x++)
            for (int c = 0; c < f->channels; c++) {
                float sum = 0;
                for (int k = 0; k < a->taps; k++)
                    sum += a->weight[(size_t)x * a->taps + k] * row[(size_t)tap_at(a, x, k) * f->channels + c];
                *to++ = sum;
            }
    }
}

static uint8_t to_byte(const lm_fitter *f, float value) {
    if (f->mask) return value > 0.01f ? 255 : 0;
    value += 0.5f;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void scale_down(const lm_fitter *f, uint8_t *out) {
    const lm_fit *t = &f->fit;
    const axis *a = &f->down;
    size_t width = (size_t)t->shown_width * f->channels;
    for (int y = 0; y < t->shown_height; y++) {
        uint8_t *to = out + ((size_t)(t->y + y) * (size_t)t->width + (size_t)t->x) * f->channels;
        for (size_t i = 0; i < width; i++) {
            float sum = 0;
            for (int k = 0; k < a->taps; k++)
                sum += a->weight[(size_t)y * a->taps + k] * f->rows[(size_t)tap_at(a, y, k) * width + i];
            to[i] = to_byte(f, sum);
        }
    }
}

void lm_fitter_frame(const lm_fitter *f, const uint8_t *from, const uint8_t *background, uint8_t *out) {
    size_t pixels = (size_t)f->fit.width * (size_t)f->fit.height;
    if (f->fit.shown_width < f->fit.width || f->fit.shown_height < f->fit.height)
        for (size_t i = 0; i < pixels; i++) memcpy(out + i * f->channels, background, (size_t)f->channels);
    scale_across(f, from);
    scale_down(f, out);
}

int lm_fit_frame_at(int i, double fps, double from_fps, int frames) {
    double at = floor(i * from_fps / fps + 0.5);
    return at < frames - 1 ? (int)at : frames - 1;
}

int lm_fit_duration(int frames, double from_fps, double fps) {
    double n = floor(frames * fps / from_fps + 0.5);
    return n < 1 ? 1 : n > LM_MAX_READ_FRAMES ? LM_MAX_READ_FRAMES : (int)n;
}

static void describe_size(const lm_fit *f, char *out, size_t size) {
    bool cut = f->cut_width < f->from_width || f->cut_height < f->from_height;
    bool scaled = f->cut_width != f->shown_width || f->cut_height != f->shown_height;
    bool padded = f->shown_width < f->width || f->shown_height < f->height;
    bool stretched = fabs((double)f->shown_width * f->cut_height - (double)f->shown_height * f->cut_width) >
                     f->cut_width + f->cut_height;
    char cutting[60] = "", scaling[60] = "", padding[40] = "";
    if (cut) snprintf(cutting, sizeof cutting, ", the middle %dx%d", f->cut_width, f->cut_height);
    if (scaled)
        snprintf(scaling, sizeof scaling, ", %s to %dx%d",
                 stretched                       ? "stretched"
                 : f->shown_width > f->cut_width ? "enlarged"
                                                 : "shrunk",
                 f->shown_width, f->shown_height);
    if (padded) snprintf(padding, sizeof padding, ", within %dx%d", f->width, f->height);
    snprintf(out, size, "%dx%d%s%s%s", f->from_width, f->from_height, cutting, scaling, padding);
}

static void describe_time(int from_frames, double from_fps, int frames, double fps, char *out, size_t size) {
    if (from_frames == 1) {
        snprintf(out, size, frames == 1 ? "one frame" : "one frame held for %d", frames);
        return;
    }
    int used = lm_fit_frame_at(frames - 1, fps, from_fps, from_frames) + 1;
    int lasting = lm_fit_duration(from_frames, from_fps, fps);
    char part[60];
    if (used < from_frames && frames < lasting)
        snprintf(part, sizeof part, "the first %d of %d frames", used, from_frames);
    else
        snprintf(part, sizeof part, "%d frames", from_frames);
    if (from_fps == fps)
        snprintf(out, size, frames > lasting ? "%s, the last held until frame %d" : "%s", part, frames);
    else
        lm_text_format(out, size, "%s at %.4g a second become %d at %.4g%s", part, from_fps, frames, fps,
                       frames > lasting ? ", the last held" : "");
}

void lm_fit_describe(const lm_fit *fit, int from_frames, double from_fps, int frames, double fps, char *out,
                     size_t size) {
    char space[160], time[160];
    describe_size(fit, space, sizeof space);
    describe_time(from_frames, from_fps, frames, fps, time, sizeof time);
    snprintf(out, size, "%s; %s", space, time);
}
