// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// The same key and counter give the same number whatever the batch, thread count or device.
#pragma once
#include <stdint.h>

void lm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

// What a draw is for; part of the key, so that no two uses share numbers.
typedef enum lm_purpose {
    LM_FOR_NOISE = 1, // diffusion noise
    LM_FOR_INIT,      // weights at birth
    LM_FOR_DATA,      // choice of clip, motion, colour, caption
    LM_FOR_TIME,      // diffusion time of a training sample
    LM_FOR_CONDITION, // masks of the condition input
    LM_FOR_DROPOUT,   // captions left out
    LM_FOR_TEST,
    LM_FOR_LOW,    // super-resolution: the place cut out, and the low-resolution clip's noise and its level
    LM_FOR_MOMENT, // whether a still's moment is told
} lm_purpose;

// n standard normal numbers for one frame: the stream of (seed, purpose, clip, frame, step), element 0 onwards.
void lm_random_normal(float *out, int64_t n, uint64_t seed, lm_purpose purpose, uint32_t clip, uint32_t frame,
                      uint32_t step);

// A sequential stream over the same generator: state is the key and a position, so it can be stored and restored.
typedef struct lm_stream {
    uint64_t seed;
    uint32_t purpose, item, step, position;
} lm_stream;
uint32_t lm_stream_u32(lm_stream *s);
double lm_stream_uniform(lm_stream *s);           // [0,1), 32 bits of it random
int64_t lm_stream_below(lm_stream *s, int64_t n); // an integer in [0,n), n from 1 to 2^32
