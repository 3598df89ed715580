// The kernels that exist once per instruction set, and what they are given. Types are F32 or BF16, arithmetic is fp32.
#pragma once
#include "device/device.h"

// Rounded up so that any level's vectors fit: scratch arrays of floats are this long.
static inline int64_t cpu_padded(int64_t n) {
    return (n + 15) / 16 * 16;
}

// One unit of a normalisation: positions x channels, contiguous. See lm_norm_attr for the formulas.
typedef struct cpu_norm_job {
    int64_t positions, channels;
    int groups;
    float eps;
    bool silu;
    lm_dtype x_type, y_type; // y_type: of y; backward of dx
    const void *x;
    void *y;
    const float *gamma, *beta, *scale, *shift; // [channels]; scale and shift NULL without ss
    // backward
    lm_dtype dy_type, acc_type;
    const void *dy, *acc; // acc may be NULL, or y
    float *sums;          // [2, channels] or NULL; y may be NULL when this isn't
    float *scratch;       // cpu_norm_scratch floats
} cpu_norm_job;

// Arrays of one value per channel that norms keep in scratch (doubles counted twice), and how many positions' channels
// they may hold.
enum { CPU_NORM_ROWS = 11, CPU_NORM_COPIES = 4 };
static inline int64_t cpu_norm_scratch(int64_t channels) {
    return CPU_NORM_ROWS * cpu_padded(CPU_NORM_COPIES * channels);
}
// Backward with silu also keeps dz.
static inline int64_t cpu_norm_grad_scratch(int64_t positions, int64_t channels) {
    return cpu_norm_scratch(channels) + cpu_padded(positions * channels);
}

// Attention of one head over one unit's rows. Row i of qkv, y and their gradients is i * stride rows from their first.
typedef struct cpu_attention_job {
    int64_t rows, stride, width; // width = C; rows of qkv have 3C elements
    int64_t head_dim;
    float scale;
    lm_dtype type;       // of qkv, y, dy, dqkv
    const void *qkv;     // at this head's q in the unit's first row
    void *y;             // at this head in the unit's first row
    const int32_t *keys; // which keys take part, ascending: i < rows is the unit's own row i, rows + l is text token l
    int64_t key_count;
    lm_dtype text_type;
    const void *text; // at this head's k of the clip's first token; rows of 2C elements
    // backward
    const void *dy;
    void *dqkv;
    float *dtext_k, *dtext_v; // [tokens, padded head_dim], added to; NULL when not wanted
    float *scratch;           // cpu_attention_scratch floats
} cpu_attention_job;

enum { CPU_ATTENTION_TILE = 64 }; // query rows worked on together
static inline int64_t cpu_attention_scratch(int64_t keys, int64_t head_dim, bool backward) {
    int64_t n = cpu_padded(keys), d = cpu_padded(head_dim), r = CPU_ATTENTION_TILE;
    return backward ? 2 * head_dim * n + 3 * n * d + 2 * r * n + 3 * r * d + r
                    : head_dim * n + n * d + r * n + 2 * r * d + r;
}

// Weights [v, v_end) x [p, p_end) x taps between a plain array and a blocked layout that gives VL neighbours along one
// of the channel dimensions, v, constant steps. Plain element (v, p, tap) is at v v_stride + p p_stride + tap; packed,
// at the sum of the terms.
enum { CPU_PACK_TAPS = 72 }; // at most
typedef struct cpu_pack_job {
    lm_dtype type; // of the packed array
    int pair;      // 2: p even and p + 1 alternate as v goes on, in bf16. 1: the v follow each other
    int64_t v, v_end, p, p_end, taps, v_stride, p_stride;
    const int64_t *v_term, *p_term, *tap_term;
} cpu_pack_job;

// to = a I + b g + c f, all [size,size] and symmetric. Where f is not whole, only its lower half is read, in squares
// down to the diagonal. to may be g.
typedef struct cpu_muon_mix {
    int64_t size, stride; // stride: of rows
    lm_dtype type;        // of to and g
    bool whole;
    void *to;
    const void *g; // NULL: b is 0
    const float *f;
    float a, b, c;
} cpu_muon_mix;

// Per-element arithmetic over n elements; operands of any of the two types. acc may be NULL, or the result's own
// memory.
typedef void (*cpu_map)(lm_dtype y_type, void *y, lm_dtype x_type, const void *x, int64_t n);
typedef void (*cpu_map_grad)(lm_dtype type, void *dx, lm_dtype x_type, const void *x, lm_dtype dy_type, const void *dy,
                             lm_dtype acc_type, const void *acc, int64_t n);
typedef struct cpu_simd {
    const char *name; // "base", "avx2", "avx512"
    void (*norm)(const cpu_norm_job *j);
    void (*norm_grad)(const cpu_norm_job *j);
    void (*attention)(const cpu_attention_job *j);
    void (*attention_grad)(const cpu_attention_job *j);
    int lanes; // VL
    void (*pack)(const cpu_pack_job *j, const float *plain, void *packed);
    void (*unpack)(const cpu_pack_job *j, const float *packed, float *plain); // of F32
    void (*convert)(lm_dtype to_type, void *to, lm_dtype from_type, const void *from, int64_t n);
    void (*add)(lm_dtype type, void *y, lm_dtype a_type, const void *a, lm_dtype b_type, const void *b, int64_t n);
    cpu_map silu, gelu;
    cpu_map_grad silu_grad, gelu_grad;
    // y = factor (a - b)
    void (*difference)(lm_dtype type, void *y, lm_dtype a_type, const void *a, lm_dtype b_type, const void *b,
                       float factor, int64_t n);
    // the sum of (a - b)^2; b may be NULL
    double (*squares)(lm_dtype a_type, const void *a, lm_dtype b_type, const void *b, int64_t n);
    void (*accumulate)(float *sum, lm_dtype type, const void *x, int64_t n); // sum += x
    void (*adamw)(const lm_adamw *p, float *w, const float *g, float *m, float *v, float *average, int64_t n);
    double (*muon_momentum)(const lm_muon *p, const float *g, float *m, int64_t n);
    void (*muon_direction)(const lm_muon *p, float factor, const float *g, const float *m, lm_dtype type, void *x,
                           int64_t n);
    void (*muon_update)(const lm_muon *p, float keep, float step, const float *u, float *w, float *average, int64_t n);
    void (*muon_mix)(const cpu_muon_mix *j);
} cpu_simd;

extern const cpu_simd lm_cpu_simd_base;
#if defined(__x86_64__)
extern const cpu_simd lm_cpu_simd_avx2, lm_cpu_simd_avx512;
#endif
