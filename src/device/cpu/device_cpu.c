// The CPU backend: what the processor can do, memory, and running kernels piece by piece on a pool of threads.
#include "base/memory.h"
#include "base/threads.h"
#include "device/cpu/units.h"

#include <assert.h>
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ADAMW_PIECE = 1 << 15, SQUARES_PIECE = 1 << 16, SQUARES_PIECES = 1024, HUGE_PAGE = 1 << 21 };

static const char *const level_names[] = {"base", "avx2", "avx512", "avx512bf16"};

static cpu_level detect_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return CPU_BASE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return CPU_AVX2;
    return __builtin_cpu_supports("avx512bf16") ? CPU_AVX512_BF16 : CPU_AVX512;
#else
    return CPU_BASE;
#endif
}

// What the processor can do, or less when LUMIERE_CPU says so.
static lm_status choose_level(lm_error *e, cpu_level *out) {
    *out = detect_level();
    const char *wanted = getenv("LUMIERE_CPU");
    if (!wanted || !*wanted) return LM_OK;
    for (int i = CPU_BASE; i <= CPU_AVX512_BF16; i++) {
        if (strcmp(wanted, level_names[i])) continue;
        if ((cpu_level)i < *out) *out = (cpu_level)i;
        return LM_OK;
    }
    return lm_fail(e, LM_USAGE, "LUMIERE_CPU is '%.40s'; it can be base, avx2, avx512 or avx512bf16", wanted);
}

static void processor_name(char *out, size_t size) {
    snprintf(out, size, "processor of unknown name");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !value) continue;
        snprintf(out, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
        break;
    }
    if (f) fclose(f);
}

static void cpu_close(lm_device *d) {
    cpu_state *s = d->state;
    if (!s) return;
    lm_cpu_dnnl_close(s);
    lm_pool_free(&s->pool);
    lm_free(s);
    d->state = NULL;
}

static lm_status cpu_open(lm_error *e, int threads, lm_device *d) {
    cpu_state *s = lm_alloc_zero(1, sizeof *s);
    if (!s) return lm_fail_memory(e, (double)sizeof *s, "the device");
    d->state = s;
    lm_status status = choose_level(e, &s->level);
    if (status == LM_OK) status = lm_pool_create(e, threads, &s->pool);
    if (status == LM_OK) s->threads = lm_pool_threads(s->pool);
    if (status == LM_OK) status = lm_cpu_dnnl_open(e, s);
    if (status != LM_OK) {
        cpu_close(d);
        return status;
    }
    char name[64];
    processor_name(name, sizeof name);
    const dnnl_version_t *v = dnnl_version();
    snprintf(d->summary, sizeof d->summary, "cpu: %s, %s, %d thread%s, oneDNN %d.%d.%d", name, level_names[s->level],
             s->threads, s->threads == 1 ? "" : "s", v->major, v->minor, v->patch);
    d->fast_bf16 = s->level == CPU_AVX512_BF16;
    return LM_OK;
}

static lm_status cpu_alloc(lm_error *e, lm_device *d, size_t bytes, void **out) {
    (void)d;
    void *p = lm_alloc_aligned(bytes);
    if (!p) return lm_fail_memory(e, (double)bytes, "the network's activations and weights");
    uintptr_t first = ((uintptr_t)p + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
    uintptr_t end = ((uintptr_t)p + bytes) & ~(uintptr_t)(HUGE_PAGE - 1);
    if (end > first)
        madvise((void *)first, end - first, MADV_HUGEPAGE); // only advice: fewer page faults and TLB misses
    *out = p;
    return LM_OK;
}

static void cpu_release_memory(lm_device *d, void *p) {
    (void)d;
    lm_free(p);
}

static lm_status cpu_copy(lm_error *e, lm_device *d, void *to, const void *from, size_t bytes) {
    (void)e, (void)d;
    if (bytes) memcpy(to, from, bytes);
    return LM_OK;
}

static void cpu_release(lm_device *d, lm_kernel *kernel) {
    (void)d;
    cpu_kernel *k = (cpu_kernel *)kernel;
    if (!k) return;
    if (k->free_extra) k->free_extra(k);
    lm_free(k);
}

static lm_status cpu_prepare(lm_error *e, lm_device *d, const lm_op *op, const lm_io *io, lm_kernel **out) {
    static lm_status (*const families[])(lm_error *, cpu_state *, const lm_op *, const lm_io *, cpu_kernel **) = {
        lm_cpu_prepare_conv, lm_cpu_prepare_norm, lm_cpu_prepare_attention, lm_cpu_prepare_simple};
    cpu_state *s = d->state;
    cpu_kernel *k = NULL;
    for (size_t i = 0; i < sizeof families / sizeof *families && !k; i++) LM_TRY(families[i](e, s, op, io, &k));
    if (!k) {
        char shape[80];
        lm_desc_print(&io->in[0].desc, shape, sizeof shape);
        return lm_fail(e, LM_FAILED, "the cpu device has no kernel for %s of %s", lm_op_name(op->kind), shape);
    }
    assert(k->phases >= 1 && k->phases <= 3);
    // what runs in a chain is cut like all others over its frames
    assert(!k->base.frames || k->phase[0].pieces == cpu_frame_pieces(k->base.frames));
    k->base.workspace = (size_t)s->threads * lm_align_size(k->thread_scratch) + lm_align_size(k->shared_scratch);
    *out = &k->base;
    return LM_OK;
}

static lm_status cpu_reserve(lm_error *e, lm_device *d, lm_kernel *kernel) {
    (void)d;
    cpu_kernel *k = (cpu_kernel *)kernel;
    return k->reserve ? k->reserve(e, k) : LM_OK;
}

// Calls whose pieces run one after the other in one thread, piece by piece.
typedef struct chain {
    const lm_call *calls;
    int count, phase; // phase: of a single call
    char *workspace;
    size_t stride; // of a thread's scratch
    void *shared;
} chain;

static lm_status run_piece(lm_error *e, void *context, int64_t index, int thread) {
    const chain *c = context;
    char *scratch = c->workspace + (size_t)thread * c->stride;
    for (int i = 0; i < c->count; i++) {
        const cpu_kernel *k = (const cpu_kernel *)c->calls[i].kernel;
        cpu_piece piece = {k, c->calls[i].io, index, thread, scratch, c->shared, e};
        LM_TRY(k->phase[c->phase].run(&piece));
    }
    return LM_OK;
}

static bool can_chain(const cpu_kernel *k) {
    return k->base.frames > 0 && k->phases == 1 && !k->shared_scratch;
}

static int chain_length(const lm_call *calls, int count) {
    const cpu_kernel *first = (const cpu_kernel *)calls[0].kernel;
    int n = 1;
    while (can_chain(first) && n < count) {
        const cpu_kernel *k = (const cpu_kernel *)calls[n].kernel;
        if (!can_chain(k) || k->base.frames != first->base.frames) break;
        n++;
    }
    return n;
}

static lm_status pack_weights(lm_error *e, const lm_log *log, const lm_call *call, uint64_t version) {
    cpu_kernel *k = (cpu_kernel *)call->kernel;
    if (!k->pack || (k->packed_version && k->packed_version == version)) return LM_OK;
    lm_log_line(log, LM_LOG_DETAILS, "run: %.1f kB of weights are packed for %s", (double)k->base.held / 1e3,
                k->base.name);
    LM_TRY(k->pack(e, k, call->io));
    k->packed_version = version;
    return LM_OK;
}

static lm_status cpu_run(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                         uint64_t weights_version) {
    cpu_state *s = d->state;
    assert(count > 0);
    for (int i = 0; i < count;) {
        chain c = {.calls = calls + i, .count = chain_length(calls + i, count - i), .workspace = workspace};
        const cpu_kernel *first = (const cpu_kernel *)calls[i].kernel;
        for (int n = 0; n < c.count; n++) {
            LM_TRY(pack_weights(e, &d->log, &c.calls[n], weights_version));
            size_t stride = lm_align_size(((const cpu_kernel *)c.calls[n].kernel)->thread_scratch);
            if (stride > c.stride) c.stride = stride;
        }
        c.shared = c.workspace ? c.workspace + (size_t)s->threads * c.stride : NULL;
        for (c.phase = 0; c.phase < first->phases; c.phase++)
            LM_TRY(lm_pool_run(e, s->pool, first->phase[c.phase].pieces, run_piece, &c));
        i += c.count;
    }
    return LM_OK;
}

typedef struct squares_job {
    const cpu_simd *simd;
    const float *x;
    int64_t n, piece;
    double sum[SQUARES_PIECES];
} squares_job;

static lm_status squares_piece(lm_error *e, void *context, int64_t i, int thread) {
    (void)e, (void)thread;
    squares_job *j = context;
    int64_t first = i * j->piece, n = j->n - first < j->piece ? j->n - first : j->piece;
    j->sum[i] = j->simd->squares(LM_F32, j->x + first, LM_F32, NULL, n);
    return LM_OK;
}

static lm_status cpu_squares(lm_error *e, lm_device *d, const float *x, int64_t n, double *out) {
    cpu_state *s = d->state;
    squares_job j = {.simd = lm_cpu_simd_of(s->level), .x = x, .n = n};
    j.piece = cpu_padded(lm_divide_up(n, SQUARES_PIECES));
    if (j.piece < SQUARES_PIECE) j.piece = SQUARES_PIECE;
    int64_t pieces = lm_divide_up(n, j.piece);
    LM_TRY(lm_pool_run(e, s->pool, pieces, squares_piece, &j));
    *out = 0;
    for (int64_t i = 0; i < pieces; i++) *out += j.sum[i];
    return LM_OK;
}

typedef struct adamw_job {
    const cpu_simd *simd;
    const lm_adamw *p;
    float *w, *m, *v, *average;
    const float *g;
    int64_t n;
} adamw_job;

static lm_status adamw_piece(lm_error *e, void *context, int64_t i, int thread) {
    (void)e, (void)thread;
    const adamw_job *j = context;
    int64_t at = i * ADAMW_PIECE, n = j->n - at < ADAMW_PIECE ? j->n - at : ADAMW_PIECE;
    j->simd->adamw(j->p, j->w + at, j->g + at, j->m + at, j->v + at, j->average ? j->average + at : NULL, n);
    return LM_OK;
}

static lm_status cpu_adamw(lm_error *e, lm_device *d, const lm_adamw *p, float *w, const float *g, float *m, float *v,
                           float *average, int64_t n) {
    cpu_state *s = d->state;
    adamw_job j = {lm_cpu_simd_of(s->level), p, w, m, v, average, g, n};
    return lm_pool_run(e, s->pool, lm_divide_up(n, ADAMW_PIECE), adamw_piece, &j);
}

const lm_backend lm_cpu_backend = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release_memory = cpu_release_memory,
    .upload = cpu_copy,
    .download = cpu_copy,
    .prepare = cpu_prepare,
    .reserve = cpu_reserve,
    .least_held = lm_cpu_conv_least_held, // no other kernel holds anything
    .run = cpu_run,
    .release = cpu_release,
    .squares = cpu_squares,
    .adamw = cpu_adamw,
    .muon_prepare = lm_cpu_muon_prepare,
    .muon = lm_cpu_muon,
    .muon_release = lm_cpu_muon_release,
    .peak = lm_cpu_peak,
};
