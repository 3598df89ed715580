// Times convolutions and linear layers of the default networks on the cpu device: GFLOP/s, share of the processor's
// measured peak, and the kernel that ran.
//     bench_conv [threads [f32|bf16 [part of a row's name]]]
#include "base/memory.h"
#include "devices/devices.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct row {
    const char *name;
    int rank;
    int64_t x[LM_MAX_RANK], out;
    lm_axis axis;
    int kernel, stride; // 0: linear
} row;

static const row rows[] = {
    {"image 32px 3x3 4-32", 5, {32, 1, 32, 32, 4}, 32, LM_SPACE, 3, 1},
    {"image 32px 3x3 32-3", 5, {32, 1, 32, 32, 32}, 3, LM_SPACE, 3, 1},
    {"image 32px 3x3 32-32", 5, {32, 1, 32, 32, 32}, 32, LM_SPACE, 3, 1},
    {"image 16px 3x3 96-96", 5, {32, 1, 16, 16, 96}, 96, LM_SPACE, 3, 1},
    {"image 16px 3x3 192-96", 5, {32, 1, 16, 16, 192}, 96, LM_SPACE, 3, 1},
    {"image 8px 3x3 160-160", 5, {32, 1, 8, 8, 160}, 160, LM_SPACE, 3, 1},
    {"image 4px 3x3 256-256", 5, {32, 1, 4, 4, 256}, 256, LM_SPACE, 3, 1},
    {"image 32px 3x3/2 32-96", 5, {32, 1, 32, 32, 32}, 96, LM_SPACE, 3, 2},
    {"image 16px 3x3/2 96-160", 5, {32, 1, 16, 16, 96}, 160, LM_SPACE, 3, 2},
    {"image 16px 1x1 192-96", 5, {32, 1, 16, 16, 192}, 96, LM_SPACE, 1, 1},
    {"image 8px linear 160-480", 5, {32, 1, 8, 8, 160}, 480, LM_SPACE, 0, 0},
    {"image 4px linear 256-768", 5, {32, 1, 4, 4, 256}, 768, LM_SPACE, 0, 0},
    {"video 64px 3x3 32-32", 5, {1, 80, 64, 64, 32}, 32, LM_SPACE, 3, 1},
    {"video 64px 3x3 4-32", 5, {1, 80, 64, 64, 4}, 32, LM_SPACE, 3, 1},
    {"video 32px 3x3 96-96", 5, {1, 80, 32, 32, 96}, 96, LM_SPACE, 3, 1},
    {"video 64px time 32-32", 5, {1, 80, 64, 64, 32}, 32, LM_TIME, 3, 1},
    {"video 32px time 96-96", 5, {1, 80, 32, 32, 96}, 96, LM_TIME, 3, 1},
    {"video 16px time 160-160", 5, {1, 40, 16, 16, 160}, 160, LM_TIME, 3, 1},
    {"video 8px time 256-256", 5, {1, 20, 8, 8, 256}, 256, LM_TIME, 3, 1},
    {"video 32px time/2 96-96", 5, {1, 80, 32, 32, 96}, 96, LM_TIME, 3, 2},
    {"one picture 64px 3x3 32-32", 5, {1, 1, 64, 64, 32}, 32, LM_SPACE, 3, 1},
    {"text linear 384-512", 3, {32, 32, 384}, 512, LM_SPACE, 0, 0},
    {"embedding linear 512-192", 2, {32, 512}, 192, LM_SPACE, 0, 0},
    {"embedding linear 512-512, 1 row", 2, {1, 512}, 512, LM_SPACE, 0, 0},
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// With one thread only its own time counts: other programs may be running.
static double work_seconds(int threads) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#if defined(__x86_64__)
enum { CHAINS = 12, LOOPS = 1 << 16 };

__attribute__((target("avx512f,avx512bf16"))) static double peak_bf16(void) {
    __m512 s[CHAINS];
    for (int i = 0; i < CHAINS; i++) s[i] = _mm512_setzero_ps();
    __m512i ones = _mm512_set1_epi16(0x3f80);
    double start = seconds();
    for (int l = 0; l < LOOPS; l++) {
        __asm__ volatile("" : "+v"(ones));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) s[i] = _mm512_dpbf16_ps(s[i], (__m512bh)ones, (__m512bh)ones);
    }
    double taken = seconds() - start;
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"v"(s[i]));
    return 64.0 * CHAINS * LOOPS / taken;
}

__attribute__((target("avx512f"))) static double peak_avx512(void) {
    __m512 s[CHAINS], one = _mm512_set1_ps(1);
    for (int i = 0; i < CHAINS; i++) s[i] = _mm512_setzero_ps();
    double start = seconds();
    for (int l = 0; l < LOOPS; l++) {
        __asm__ volatile("" : "+v"(one));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) s[i] = _mm512_fmadd_ps(one, one, s[i]);
    }
    double taken = seconds() - start;
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"v"(s[i]));
    return 32.0 * CHAINS * LOOPS / taken;
}

__attribute__((target("avx2,fma"))) static double peak_avx2(void) {
    __m256 s[CHAINS], one = _mm256_set1_ps(1);
    for (int i = 0; i < CHAINS; i++) s[i] = _mm256_setzero_ps();
    double start = seconds();
    for (int l = 0; l < LOOPS; l++) {
        __asm__ volatile("" : "+x"(one));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) s[i] = _mm256_fmadd_ps(one, one, s[i]);
    }
    double taken = seconds() - start;
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("" ::"x"(s[i]));
    return 16.0 * CHAINS * LOOPS / taken;
}
#endif

// Floating-point operations a second of one core, best of several tries; 0 where it isn't known how to measure it.
static double peak(lm_dtype type) {
    double best = 0;
#if defined(__x86_64__)
    for (int i = 0; i < 20; i++) {
        double p = 0;
        if (type == LM_BF16 && __builtin_cpu_supports("avx512bf16"))
            p = peak_bf16();
        else if (__builtin_cpu_supports("avx512f"))
            p = peak_avx512();
        else if (__builtin_cpu_supports("avx2"))
            p = peak_avx2();
        if (p > best) best = p;
    }
#else
    (void)type;
#endif
    return best;
}

static lm_op make_op(const row *r, int direction, lm_dtype type, lm_io *io) {
    static const lm_op_kind conv[] = {LM_OP_CONV, LM_OP_CONV_GRAD_X, LM_OP_CONV_GRAD_W};
    static const lm_op_kind linear[] = {LM_OP_LINEAR, LM_OP_LINEAR_GRAD_X, LM_OP_LINEAR_GRAD_W};
    lm_desc x = lm_desc_make(type, r->rank, r->x), y = x;
    const int64_t k = r->kernel, in = x.dim[x.rank - 1];
    y.dim[y.rank - 1] = r->out;
    for (int i = 1; k && i < 4; i++)
        if ((r->axis == LM_TIME) == (i == 1)) y.dim[i] = (x.dim[i] + r->stride - 1) / r->stride;
    lm_desc w = lm_desc_make(LM_F32, !k ? 2 : r->axis == LM_TIME ? 3 : 4, (int64_t[]){r->out, in, k, k});
    lm_desc b = lm_desc_make(LM_F32, 1, &r->out);
    *io = (lm_io){0};
    io->in[0].desc = direction == 1 ? y : x;
    io->in[1].desc = direction == 2 ? y : w;
    io->out[0].desc = direction == 0 ? y : direction == 1 ? x : w;
    if (direction == 0) io->in[2].desc = b;
    if (direction == 2) io->out[1].desc = b;
    lm_op op = {.kind = k ? conv[direction] : linear[direction]};
    if (k) op.attr.conv = (lm_conv_attr){r->axis, r->kernel, r->stride, x};
    return op;
}

static void check(lm_status status, const lm_error *e) {
    if (status == LM_OK) return;
    fprintf(stderr, "bench_conv: %s\n", e->text);
    exit(1);
}

static void *allocate(lm_device *d, size_t bytes) {
    lm_error e = {0};
    void *p = NULL;
    check(d->backend->alloc(&e, d, bytes ? bytes : 64, &p), &e);
    memset(p, 0, bytes);
    return p;
}

// The fastest of 0.3 seconds of runs, or of 3.
static double time_op(lm_device *d, const lm_op *op, lm_io *io, int threads, char *name, size_t size) {
    lm_error e = {0};
    lm_kernel *k = NULL;
    check(lm_kernel_create(&e, d, op, io, &k), &e);
    snprintf(name, size, "%s", k->name);
    for (int i = 0; i < LM_MAX_INPUTS; i++)
        if (io->in[i].desc.rank) io->in[i].data = allocate(d, (size_t)lm_desc_bytes(&io->in[i].desc));
    for (int i = 0; i < LM_MAX_OUTPUTS; i++)
        if (io->out[i].desc.rank) io->out[i].data = allocate(d, (size_t)lm_desc_bytes(&io->out[i].desc));
    void *workspace = allocate(d, k->workspace);
    lm_call call = {k, io};
    check(d->backend->run(&e, d, &call, 1, workspace, 1), &e);
    double best = 1e30, begin = seconds();
    for (int n = 0; n < 3 || seconds() - begin < 0.3; n++) {
        double start = work_seconds(threads);
        check(d->backend->run(&e, d, &call, 1, workspace, 1), &e);
        double taken = work_seconds(threads) - start;
        if (taken < best) best = taken;
    }
    for (int i = 0; i < LM_MAX_INPUTS; i++) d->backend->release_memory(d, io->in[i].data);
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) d->backend->release_memory(d, io->out[i].data);
    d->backend->release_memory(d, workspace);
    d->backend->release(d, k);
    return best;
}

int main(int argc, char **argv) {
    static const char *const directions[] = {"forward", "grad x", "grad w"};
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    const char *only = argc > 3 ? argv[3] : "";
    lm_error e = {0};
    lm_device *d = NULL;
    check(lm_device_open(&e, "cpu", threads, &d), &e);
    printf("%s\n", d->summary);
    for (int t = 0; t < 2; t++) {
        const lm_dtype type = t ? LM_BF16 : LM_F32;
        if (argc > 2 && strcmp(argv[2], lm_dtype_name(type)) != 0) continue;
        const double most = peak(type) * threads;
        printf("\n%s, peak %.0f GFLOP/s\n", lm_dtype_name(type), most * 1e-9);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            if (!strstr(rows[i].name, only)) continue;
            for (int direction = 0; direction < 3; direction++) {
                lm_io io;
                lm_op op = make_op(&rows[i], direction, type, &io);
                lm_desc in[LM_MAX_INPUTS], out[LM_MAX_OUTPUTS];
                for (int o = 0; o < LM_MAX_INPUTS; o++) in[o] = io.in[o].desc;
                for (int o = 0; o < LM_MAX_OUTPUTS; o++) out[o] = io.out[o].desc;
                char name[128];
                const double taken = time_op(d, &op, &io, threads, name, sizeof name),
                             rate = lm_op_flops(&op, in, out) / taken;
                printf("%-32s %-8s %9.3f ms %7.1f GFLOP/s %5.1f %%  %s\n", rows[i].name, directions[direction],
                       taken * 1e3, rate * 1e-9, most > 0 ? 100 * rate / most : 0, name);
            }
        }
    }
    lm_device_close(&d);
    return 0;
}
