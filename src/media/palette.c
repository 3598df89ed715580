#include "media/palette.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

// The pixels whose colours share their upper six bits.
typedef struct bin {
    uint32_t key;
    double count, mean[3];
} bin;

// bins[first, last) and the channel in which they spread most; error is the squared error of their mean in it.
typedef struct box {
    int first, last, channel;
    double error, mean[3];
} box;

static uint32_t bin_key(const uint8_t *p) {
    return (uint32_t)(p[0] >> 2) << 12 | (uint32_t)(p[1] >> 2) << 6 | (uint32_t)p[2] >> 2;
}

// Fills bins[LM_PALETTE_BINS] and moves those in use to the front; returns their count.
static int count_colors(const lm_clip *c, bin *bins) {
    size_t pixels = (size_t)c->frames * (size_t)c->width * (size_t)c->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = c->data + i * (size_t)c->channels;
        if (c->channels == 4 && p[3] < 128) continue;
        bin *b = &bins[bin_key(p)];
        b->count++;
        for (int k = 0; k < 3; k++) b->mean[k] += p[k];
    }
    int used = 0;
    for (uint32_t key = 0; key < LM_PALETTE_BINS; key++) {
        bin b = bins[key];
        if (!(b.count > 0)) continue;
        b.key = key;
        for (int k = 0; k < 3; k++) b.mean[k] /= b.count;
        bins[used++] = b;
    }
    return used;
}

static box make_box(const bin *bins, int first, int last) {
    box b = {.first = first, .last = last};
    double count = 0, sum[3] = {0}, square[3] = {0};
    for (int i = first; i < last; i++) {
        count += bins[i].count;
        for (int k = 0; k < 3; k++) {
            sum[k] += bins[i].count * bins[i].mean[k];
            square[k] += bins[i].count * bins[i].mean[k] * bins[i].mean[k];
        }
    }
    for (int k = 0; k < 3; k++) {
        b.mean[k] = count > 0 ? sum[k] / count : 0;
        double error = square[k] - b.mean[k] * sum[k];
        if (error > b.error) b.error = error, b.channel = k;
    }
    return b;
}

// Splits the box at its mean; false when it can't be split.
static bool split_box(bin *bins, box *b, box *rest) {
    int middle = b->first;
    for (int i = b->first; i < b->last; i++) {
        if (bins[i].mean[b->channel] > b->mean[b->channel]) continue;
        bin swap = bins[i];
        bins[i] = bins[middle];
        bins[middle++] = swap;
    }
    if (middle == b->first || middle == b->last) return false;
    *rest = make_box(bins, middle, b->last);
    *b = make_box(bins, b->first, middle);
    return true;
}

// Median cut in its variance form: the box with the largest error is split until there are enough or all are exact.
static int cut(bin *bins, int used, box boxes[LM_PALETTE_COLORS]) {
    int count = 1;
    boxes[0] = make_box(bins, 0, used);
    while (count < LM_PALETTE_COLORS) {
        int worst = 0;
        for (int i = 1; i < count; i++)
            if (boxes[i].error > boxes[worst].error) worst = i;
        if (!(boxes[worst].error > 0)) break;
        if (split_box(bins, &boxes[worst], &boxes[count]))
            count++;
        else
            boxes[worst].error = 0;
    }
    return count;
}

static uint8_t find_nearest(const lm_palette *p, int count, const double color[3]) {
    int best = 0;
    double least = INFINITY;
    for (int i = 0; i < count; i++) {
        double r = p->colors[i][0] - color[0], g = p->colors[i][1] - color[1], b = p->colors[i][2] - color[2];
        double distance = r * r + g * g + b * b;
        if (distance < least) least = distance, best = i;
    }
    return (uint8_t)best;
}

lm_status lm_palette_make(lm_error *e, const lm_clip *clip, lm_palette **out) {
    bin *bins = lm_alloc_zero(LM_PALETTE_BINS, sizeof *bins);
    lm_palette *p = lm_alloc_zero(1, sizeof *p);
    *out = p;
    if (!bins || !p) {
        lm_free(bins);
        lm_free(p);
        *out = NULL;
        return lm_fail_memory(e, (double)LM_PALETTE_BINS * sizeof *bins, "a palette");
    }
    box boxes[LM_PALETTE_COLORS];
    int used = count_colors(clip, bins), count = cut(bins, used, boxes);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 3; k++) p->colors[i][k] = (uint8_t)lround(boxes[i].mean[k]);
    for (int i = 0; i < used; i++) p->nearest[bins[i].key] = find_nearest(p, count, bins[i].mean);
    lm_free(bins);
    return LM_OK;
}

uint8_t lm_palette_entry(const lm_palette *p, const uint8_t *pixel, int channels) {
    return channels == 4 && pixel[3] < 128 ? LM_PALETTE_COLORS : p->nearest[bin_key(pixel)];
}
