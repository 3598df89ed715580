#include "tasks/mask.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

// Pixels from one of a row's 255s, along the row; far when there is none. Squared afterwards.
static void row_distances(const uint8_t *row, int width, float far, float *out) {
    float d = far;
    for (int x = 0; x < width; x++) {
        d = row[x] == 255 ? 0 : d + 1;
        out[x] = d;
    }
    d = far;
    for (int x = width - 1; x >= 0; x--) {
        d = row[x] == 255 ? 0 : d + 1;
        out[x] = fminf(out[x], d);
    }
    for (int x = 0; x < width; x++) out[x] = out[x] < far ? out[x] * out[x] : far * far;
}

void lm_mask_feather(uint8_t *mask, int width, int height, double reach, float *near) {
    int rows = reach < height ? (int)ceil(reach) : height - 1;
    float far = (float)(reach + 1);
    for (int y = 0; y < height; y++)
        row_distances(mask + (size_t)y * (size_t)width, width, far, near + (size_t)y * (size_t)width);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *at = mask + (size_t)y * (size_t)width + x;
            if (*at == 255) continue;
            float least = far * far;
            for (int dy = -rows; dy <= rows; dy++)
                if (y + dy >= 0 && y + dy < height)
                    least = fminf(least, near[(size_t)(y + dy) * (size_t)width + x] + (float)(dy * dy));
            double share = 1 - sqrt(least) / (reach + 1);
            *at = share > 0 ? (uint8_t)(255 * share) : 0;
        }
}

// The mask in pixels of the input with its pads, 0 and 255.
static void draw_source(const lm_given_options *o, const lm_fit *fit, int mask_frame, uint8_t *out) {
    size_t count = (size_t)fit->from_width * (size_t)fit->from_height;
    if (o->mask) {
        const uint8_t *p = o->mask->data + (size_t)mask_frame * count * 3;
        for (size_t i = 0; i < count; i++, p += 3) out[i] = p[0] + p[1] + p[2] >= 3 * 128 ? 255 : 0;
        return;
    }
    bool outpaint = o->task == LM_TASK_OUTPAINT;
    lm_box b = outpaint ? (lm_box){o->left, o->top, o->input->width, o->input->height} : *o->box;
    for (int64_t y = 0; y < fit->from_height; y++)
        for (int64_t x = 0; x < fit->from_width; x++) {
            bool inside = x >= b.x && x < (int64_t)b.x + b.width && y >= b.y && y < (int64_t)b.y + b.height;
            *out++ = inside != outpaint ? 255 : 0;
        }
}

// Frame i of the run takes this frame of the mask: the input's own where they have as many, else spread over the run.
static int mask_frame_at(const lm_given_options *o, int i) {
    if (!o->mask || o->mask->frames == 1) return 0;
    if (o->mask->frames == o->input->frames) return lm_fit_frame_at(i, o->fps, o->input_fps, o->input->frames);
    return (int)((int64_t)i * o->mask->frames / o->frames);
}

typedef struct mask_maker {
    lm_fit fit; // of the mask
    lm_fitter *fitter;
    uint8_t *source;
    float *near;
    double reach; // of the feather, in pixels of the run
} mask_maker;

static lm_status maker_create(lm_error *e, const lm_given_options *o, mask_maker *m) {
    const lm_fit input = lm_given_fit(o);
    m->fit = o->mask ? lm_fit_make(o->fit, o->mask->width, o->mask->height, o->width, o->height) : input;
    m->reach = o->feather * sqrt((double)input.shown_width / input.cut_width * input.shown_height / input.cut_height);
    size_t from = (size_t)m->fit.from_width * (size_t)m->fit.from_height, to = (size_t)o->width * (size_t)o->height;
    LM_TRY(lm_fitter_create(e, &m->fit, true, &m->fitter));
    m->source = lm_alloc(from, 1);
    m->near = lm_alloc(to, sizeof *m->near);
    return m->source && m->near ? LM_OK : lm_fail_memory(e, (double)(from + to * sizeof *m->near), "a mask");
}

static void make_frame(const lm_given_options *o, const mask_maker *m, int mask_frame, uint8_t *out) {
    const uint8_t given = 0;
    draw_source(o, &m->fit, mask_frame, m->source);
    lm_fitter_frame(m->fitter, m->source, &given, out);
    if (m->reach > 0) lm_mask_feather(out, o->width, o->height, m->reach, m->near);
}

lm_status lm_mask_make(lm_error *e, const lm_given_options *o, uint8_t *made) {
    size_t pixels = (size_t)o->width * (size_t)o->height;
    bool first_given = o->task == LM_TASK_ANIMATE || o->task == LM_TASK_CINEMAGRAPH;
    memset(made, 255, pixels * (size_t)o->frames);
    if (first_given) memset(made, 0, pixels);
    if (o->task == LM_TASK_ANIMATE || o->task == LM_TASK_EDIT) return LM_OK;
    mask_maker m = {0};
    lm_status status = maker_create(e, o, &m);
    for (int i = first_given, last = -1; i < o->frames && status == LM_OK; i++) {
        uint8_t *out = made + (size_t)i * pixels;
        int at = mask_frame_at(o, i);
        if (at == last)
            memcpy(out, out - pixels, pixels);
        else
            make_frame(o, &m, at, out);
        last = at;
    }
    lm_fitter_free(&m.fitter);
    lm_free(m.source);
    lm_free(m.near);
    return status;
}
