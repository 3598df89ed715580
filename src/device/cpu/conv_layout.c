#include "device/cpu/conv_layout.h"
#include "base/bf16.h"
#include "base/memory.h"
#include <string.h>

static int64_t place(const dn_blocks *b, int dim, int64_t index) {
    int64_t at = 0, inner = 1;
    for (int i = b->count - 1; i >= 0; i--) {
        if (b->of[i] == dim) {
            at += index % b->block[i] * inner;
            index /= b->block[i];
        }
        inner *= b->block[i];
    }
    return at + index * b->stride[dim];
}

// The most elements, a power of two, such that every group of so many has terms a constant step apart.
static int constant_run(const int64_t *term, int64_t n, int64_t step) {
    int run = 16;
    for (int64_t i = 1; i < n; i++)
        while (run > 1 && i % run && term[i] != term[i - 1] + step) run /= 2;
    return run;
}

static void find_vectors(conv_layout *l) {
    const int64_t *term[2] = {l->term, l->term + l->size[0]};
    for (int along = 0; along < 2; along++)
        for (int pair = 1; pair <= (l->type == LM_BF16 ? 2 : 1); pair++) {
            const int lanes = constant_run(term[along], l->size[along], pair);
            if (lanes <= l->lanes || (pair == 2 && constant_run(term[!along], l->size[!along], 1) < 2)) continue;
            l->along = along;
            l->pair = pair;
            l->lanes = lanes;
        }
    if (l->lanes < 4 || l->size[2] * l->size[3] > CPU_PACK_TAPS) l->lanes = 0;
}

lm_status lm_conv_layout_of(lm_error *e, dn_md md, conv_layout *out) {
    dn_blocks b;
    *out = (conv_layout){0};
    if (!lm_dn_blocks_of(md, &b)) return lm_fail(e, LM_FAILED, "oneDNN chose a weight layout of an unknown kind");
    out->bytes = dnnl_memory_desc_get_size(md);
    out->type = b.type;
    int64_t total = 0;
    for (int d = 0; d < 4; d++) total += out->size[d] = b.size[d];
    out->term = lm_alloc((size_t)total, sizeof *out->term);
    if (!out->term) return lm_fail_memory(e, (double)total * sizeof *out->term, "a weight layout");
    int64_t *term = out->term;
    for (int d = 0; d < 4; d++)
        for (int64_t i = 0; i < b.size[d]; i++) *term++ = place(&b, d, i);
    out->plain = b.count == 0;
    int64_t dense = 1;
    for (int d = 3; d >= 0; dense *= b.size[d--]) out->plain &= b.size[d] == 1 || b.stride[d] == dense;
    find_vectors(out);
    return LM_OK;
}

void lm_conv_layout_free(conv_layout *l) {
    lm_free(l->term);
    *l = (conv_layout){0};
}

// Where an element of the plain array is: start + o stride[0] + i stride[1] + h stride[2] + w stride[3].
typedef struct plain_place {
    int64_t start, stride[4];
} plain_place;

static plain_place place_plain(const conv_layout *l, bool flipped) {
    const int64_t w = l->size[3], taps = l->size[2] * w;
    if (flipped) return (plain_place){taps - 1, {taps, l->size[0] * taps, -w, -1}};
    return (plain_place){0, {l->size[1] * taps, taps, w, 1}};
}

// A tile of the two arrays: some output channels by some input channels, so few that both stay in the first cache while
// one is read across the other's order.
enum { TILE = 16 };
typedef struct tile {
    int64_t o, i, o_end, i_end;
} tile;

static void pack_tile(const conv_layout *l, const plain_place *p, const tile *t, const float *plain, void *packed) {
    const int64_t *to = l->term, *ti = to + l->size[0], *th = ti + l->size[1], *tw = th + l->size[2];
    const int64_t step = p->stride[0], count = t->o_end - t->o;
    for (int64_t h = 0; h < l->size[2]; h++)
        for (int64_t w = 0; w < l->size[3]; w++)
            for (int64_t i = t->i; i < t->i_end; i++) {
                const float *from =
                    plain + p->start + t->o * step + i * p->stride[1] + h * p->stride[2] + w * p->stride[3];
                const int64_t at = ti[i] + th[h] + tw[w], *term = to + t->o;
                if (l->type == LM_F32)
                    for (int64_t o = 0; o < count; o++) ((float *)packed)[at + term[o]] = from[o * step];
                else
                    for (int64_t o = 0; o < count; o++)
                        ((uint16_t *)packed)[at + term[o]] = lm_bf16_from_float(from[o * step]);
            }
}

static void unpack_tile(const conv_layout *l, const plain_place *p, const tile *t, const float *packed, float *plain) {
    const int64_t *to = l->term, *ti = to + l->size[0], *th = ti + l->size[1], *tw = th + l->size[2];
    const int64_t step = p->stride[0], count = t->o_end - t->o;
    for (int64_t h = 0; h < l->size[2]; h++)
        for (int64_t w = 0; w < l->size[3]; w++)
            for (int64_t i = t->i; i < t->i_end; i++) {
                float *result = plain + p->start + t->o * step + i * p->stride[1] + h * p->stride[2] + w * p->stride[3];
                const float *from = packed + ti[i] + th[h] + tw[w];
                for (int64_t o = 0; o < count; o++) result[o * step] = from[to[t->o + o]];
            }
}

// The tile after t among output channels up to last; false when there is none. Begin with i_end = 0.
static bool next_tile(const conv_layout *l, int64_t last, tile *t) {
    if (t->i_end == l->size[1]) {
        t->o = t->o_end;
        t->i_end = 0;
    }
    if (t->o >= last) return false;
    t->o_end = t->o + TILE < last ? t->o + TILE : last;
    t->i = t->i_end;
    t->i_end = t->i + TILE < l->size[1] ? t->i + TILE : l->size[1];
    return true;
}

// The job of moving output channels [first, last); tap_term has room for CPU_PACK_TAPS.
static cpu_pack_job job_of(const conv_layout *l, bool flipped, int64_t first, int64_t last, int64_t *tap_term) {
    const plain_place p = place_plain(l, flipped);
    const int64_t *term[2] = {l->term, l->term + l->size[0]}, *th = term[1] + l->size[1], *tw = th + l->size[2];
    const int64_t taps = l->size[2] * l->size[3], from[2] = {first, 0}, to[2] = {last, l->size[1]};
    for (int64_t t = 0; t < taps; t++) tap_term[flipped ? taps - 1 - t : t] = th[t / l->size[3]] + tw[t % l->size[3]];
    const int v = l->along, other = !l->along;
    return (cpu_pack_job){l->type, l->pair,     from[v],         to[v],   from[other], to[other],
                          taps,    p.stride[v], p.stride[other], term[v], term[other], tap_term};
}

void lm_conv_layout_pack(const conv_layout *l, const cpu_simd *simd, bool flipped, const float *plain, int64_t first,
                         int64_t last, void *packed) {
    if (l->lanes >= simd->lanes) {
        int64_t tap_term[CPU_PACK_TAPS];
        const cpu_pack_job job = job_of(l, flipped, first, last, tap_term);
        simd->pack(&job, plain, packed);
        return;
    }
    const plain_place p = place_plain(l, flipped);
    for (tile t = {.o = first}; next_tile(l, last, &t);) pack_tile(l, &p, &t, plain, packed);
}

void lm_conv_layout_unpack(const conv_layout *l, const cpu_simd *simd, const float *packed, int64_t first, int64_t last,
                           float *plain) {
    const int64_t each = l->size[1] * l->size[2] * l->size[3];
    if (l->plain) {
        memcpy(plain + first * each, packed + first * each, (size_t)((last - first) * each) * sizeof *plain);
        return;
    }
    if (l->lanes >= simd->lanes) {
        int64_t tap_term[CPU_PACK_TAPS];
        const cpu_pack_job job = job_of(l, false, first, last, tap_term);
        simd->unpack(&job, packed, plain);
        return;
    }
    const plain_place p = place_plain(l, false);
    for (tile t = {.o = first}; next_tile(l, last, &t);) unpack_tile(l, &p, &t, packed, plain);
}
