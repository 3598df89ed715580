#include "tasks/given.h"

#include "base/arithmetic.h"
#include "base/memory.h"
#include "media/levels.h"
#include "tasks/mask.h"

#include <math.h>
#include <string.h>

static bool needs_mask(lm_task_kind t) {
    return t == LM_TASK_INPAINT || t == LM_TASK_CINEMAGRAPH;
}

static bool holds_first_frame(lm_task_kind t) {
    return t == LM_TASK_ANIMATE || t == LM_TASK_CINEMAGRAPH;
}

static lm_status check_mask(lm_error *e, const lm_given_options *o) {
    const lm_clip *c = o->input, *m = o->mask;
    int frames = holds_first_frame(o->task) ? 1 : c->frames;
    if (m->width != c->width || m->height != c->height)
        return o->fit_mask ? LM_OK
                           : lm_fail(e, LM_MEDIA,
                                     "the mask is %dx%d and the input %dx%d; make them the same, or have the mask "
                                     "fitted with --fit crop, pad or stretch",
                                     m->width, m->height, c->width, c->height);
    if (m->frames != 1 && m->frames != frames && frames != 1 && !o->fit_mask)
        return lm_fail(e, LM_MEDIA,
                       "the mask has %d frames and the input %d; one frame, or as many, are right, or have the mask "
                       "fitted with --fit crop, pad or stretch",
                       m->frames, frames);
    return LM_OK;
}

static lm_status check_box(lm_error *e, const lm_given_options *o) {
    const lm_box *b = o->box;
    if (b->width < 0 || b->height < 0)
        return lm_fail(e, LM_USAGE, "the box is %d wide and %d high; neither can be below 0", b->width, b->height);
    int64_t right = (int64_t)b->x + b->width, bottom = (int64_t)b->y + b->height;
    if (b->width && b->height && (right <= 0 || bottom <= 0 || b->x >= o->input->width || b->y >= o->input->height))
        return lm_fail(e, LM_USAGE, "the box %d,%d,%d,%d (x,y,width,height) lies outside of the input's %dx%d pixels",
                       b->x, b->y, b->width, b->height, o->input->width, o->input->height);
    return LM_OK;
}

static lm_status check_pads(lm_error *e, const lm_given_options *o) {
    const int pads[4] = {o->left, o->top, o->right, o->bottom};
    for (int i = 0; i < 4; i++)
        if (pads[i] < 0 || pads[i] > LM_MAX_SIDE)
            return lm_fail(e, LM_USAGE, "a pad of %d pixels; 0 to %d are possible", pads[i], LM_MAX_SIDE);
    int width = o->input->width + o->left + o->right, height = o->input->height + o->top + o->bottom;
    if (o->task != LM_TASK_OUTPAINT && (o->left || o->top || o->right || o->bottom))
        return lm_fail(e, LM_USAGE, "pads are for outpainting only");
    if (width > LM_MAX_SIDE || height > LM_MAX_SIDE)
        return lm_fail(e, LM_USAGE, "%dx%d pixels with the pads; at most %d a side are possible", width, height,
                       LM_MAX_SIDE);
    return LM_OK;
}

lm_status lm_given_check(lm_error *e, const lm_given_options *o) {
    if (!(o->feather >= 0 && o->feather <= 1000))
        return lm_fail(e, LM_USAGE, "the feather is %g pixels; 0 to 1000 are possible", o->feather);
    LM_TRY(check_pads(e, o));
    if (!needs_mask(o->task))
        return o->mask || o->box ? lm_fail(e, LM_USAGE, "a mask or box is for inpainting and cinemagraphs only")
                                 : LM_OK;
    if (o->mask && o->box) return lm_fail(e, LM_USAGE, "both a mask and a box are given; give one");
    if (o->mask) return check_mask(e, o);
    return o->box ? check_box(e, o) : lm_fail(e, LM_USAGE, "no mask and no box; one must say what is made anew");
}

// The frame with its edges going on into the pads, so that resampling never mixes in a colour from nowhere.
static void pad_frame(const lm_given_options *o, const lm_fit *fit, const uint8_t *frame, uint8_t *canvas) {
    const lm_clip *c = o->input;
    for (int y = 0; y < fit->from_height; y++) {
        const uint8_t *row = frame + (size_t)lm_clamp_index(y - o->top, c->height) * (size_t)c->width * 3;
        for (int x = 0; x < fit->from_width; x++, canvas += 3)
            memcpy(canvas, row + (size_t)lm_clamp_index(x - o->left, c->width) * 3, 3);
    }
}

static lm_status fit_frames(lm_error *e, const lm_given_options *o, lm_given *g) {
    const lm_fit fit = lm_given_fit(o);
    size_t from = (size_t)o->input->width * (size_t)o->input->height * 3, to = (size_t)o->width * (size_t)o->height * 3;
    size_t padded = (size_t)fit.from_width * (size_t)fit.from_height * 3;
    lm_fitter *fitter = NULL;
    uint8_t *canvas = padded > from ? lm_alloc(padded, 1) : NULL;
    lm_status status = lm_fitter_create(e, &fit, false, &fitter);
    if (status == LM_OK && padded > from && !canvas) status = lm_fail_memory(e, (double)padded, "a padded frame");
    for (int i = 0, last = -1; i < o->frames && status == LM_OK; i++) {
        uint8_t *out = g->clip.data + (size_t)i * to;
        int at = holds_first_frame(o->task) ? 0 : lm_fit_frame_at(i, o->fps, o->input_fps, o->input->frames);
        const uint8_t *frame = o->input->data + (size_t)at * from;
        if (canvas && at != last) pad_frame(o, &fit, frame, canvas);
        if (at == last)
            memcpy(out, out - to, to);
        else
            lm_fitter_frame(fitter, canvas ? canvas : frame, o->background, out);
        last = at;
    }
    lm_free(canvas);
    lm_fitter_free(&fitter);
    return status;
}

lm_status lm_given_make(lm_error *e, const lm_given_options *o, lm_given *out) {
    *out = (lm_given){0};
    LM_TRY(lm_given_check(e, o));
    lm_status status = lm_clip_alloc(e, o->frames, o->width, o->height, 3, &out->clip);
    size_t pixels = (size_t)o->frames * (size_t)o->width * (size_t)o->height;
    if (status == LM_OK && !(out->made = lm_alloc(pixels, 1))) status = lm_fail_memory(e, (double)pixels, "a mask");
    out->clip.fps = o->fps;
    if (status == LM_OK) status = fit_frames(e, o, out);
    if (status == LM_OK) status = lm_mask_make(e, o, out->made);
    if (status != LM_OK) lm_given_free(out);
    return status;
}

void lm_given_free(lm_given *g) {
    lm_clip_free(&g->clip);
    lm_free(g->made);
    *g = (lm_given){0};
}

void lm_given_condition(const lm_given *g, int frame, int width, int height, float *out) {
    const lm_clip *c = &g->clip;
    memset(out, 0, (size_t)width * (size_t)height * 4 * sizeof *out);
    if (frame >= c->frames) return;
    for (int y = 0; y < c->height; y++) {
        size_t at = ((size_t)frame * (size_t)c->height + (size_t)y) * (size_t)c->width;
        float *to = out + (size_t)y * (size_t)width * 4;
        for (int x = 0; x < c->width; x++, at++, to += 4) {
            if (g->made[at] == 255) continue;
            lm_floats_from_bytes(to, c->data + 3 * at, 3);
            to[3] = 1;
        }
    }
}

void lm_given_frame(const lm_given *g, int frame, int width, int height, float *out) {
    const lm_clip *c = &g->clip;
    size_t start = (size_t)lm_clamp_index(frame, c->frames) * (size_t)c->height;
    for (int y = 0; y < height; y++) {
        const uint8_t *row = c->data + (start + (size_t)lm_clamp_index(y, c->height)) * (size_t)c->width * 3;
        for (int x = 0; x < width; x++, out += 3)
            lm_floats_from_bytes(out, row + (size_t)lm_clamp_index(x, c->width) * 3, 3);
    }
}

void lm_given_composite(const lm_given *g, lm_clip *result) {
    const lm_clip *c = &g->clip;
    size_t pixels = (size_t)c->frames * (size_t)c->height * (size_t)c->width;
    for (size_t i = 0; i < pixels; i++) {
        int made = g->made[i], given = 255 - made;
        for (size_t k = 3 * i; k < 3 * i + 3; k++)
            result->data[k] = (uint8_t)((c->data[k] * given + result->data[k] * made + 127) / 255);
    }
}
