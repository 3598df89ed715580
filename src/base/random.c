#include "base/random.h"

#include <math.h>

static void mul_hilo(uint32_t a, uint32_t b, uint32_t *hi, uint32_t *lo) {
    uint64_t product = (uint64_t)a * b;
    *hi = (uint32_t)(product >> 32);
    *lo = (uint32_t)product;
}

void lm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint32_t hi0, lo0, hi1, lo1;
        mul_hilo(0xD2511F53u, c0, &hi0, &lo0);
        mul_hilo(0xCD9E8D57u, c2, &hi1, &lo1);
        c0 = hi1 ^ c1 ^ k0;
        c1 = lo1;
        c2 = hi0 ^ c3 ^ k1;
        c3 = lo0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

// Steps take 24 bits of the counter's last word and the purpose its upper 8.
static uint32_t last_word(uint32_t purpose, uint32_t step) {
    return purpose << 24 | (step & 0xFFFFFFu);
}

void lm_random_normal(float *out, int64_t n, uint64_t seed, lm_purpose purpose, uint32_t clip, uint32_t frame,
                      uint32_t step) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t r[4];
        const uint32_t counter[4] = {(uint32_t)(i / 4), frame, clip, last_word(purpose, step)};
        lm_philox(counter, key, r);
        for (int j = 0; j < 4 && i + j < n; j += 2) { // Box-Muller; u in (0,1]
            double u = ((double)r[j] + 1.0) * 0x1p-32, angle = (double)r[j + 1] * (0x1p-32 * 6.283185307179586);
            double radius = sqrt(-2.0 * log(u));
            out[i + j] = (float)(radius * cos(angle));
            if (i + j + 1 < n) out[i + j + 1] = (float)(radius * sin(angle));
        }
    }
}

uint32_t lm_stream_u32(lm_stream *s) {
    const uint32_t key[2] = {(uint32_t)s->seed, (uint32_t)(s->seed >> 32)};
    const uint32_t counter[4] = {s->position / 4, 0xFFFFFFFFu, s->item, last_word(s->purpose, s->step)};
    uint32_t r[4];
    lm_philox(counter, key, r);
    return r[s->position++ % 4];
}

double lm_stream_uniform(lm_stream *s) {
    return lm_stream_u32(s) * 0x1p-32;
}

int64_t lm_stream_below(lm_stream *s, int64_t n) {
    return (int64_t)(((uint64_t)lm_stream_u32(s) * (uint64_t)n) >> 32); // bias under 2^-32 n, none that a use here sees
}
