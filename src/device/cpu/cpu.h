// The CPU device's own interface: how a kernel is cut into pieces that threads take. Private to device/cpu.
//
// Pieces depend on shapes alone, never on the number of threads, and each piece writes its own part of the output, so
// results are bit-identical for any number of threads.
#pragma once
#include "device/device.h"

typedef struct cpu_kernel cpu_kernel;

typedef struct cpu_piece {
    const cpu_kernel *kernel;
    const lm_io *io;
    int64_t index; // of this phase's pieces
    int thread;    // [0, threads)
    void *scratch; // kernel->thread_scratch bytes of this thread's own, 64-byte aligned
    void *shared;  // kernel->shared_scratch bytes, the same for all pieces and phases of this run, 64-byte aligned
    lm_error *error;
} cpu_piece;

// A kernel runs its phases one after the other; the pieces of one phase in any order. A piece that fails returns why,
// with its message in p->error: the run ends with the first of them in order, and the outputs' contents are undefined.
typedef lm_status (*cpu_piece_fn)(const cpu_piece *p);
typedef struct cpu_phase {
    int64_t pieces;
    cpu_piece_fn run;
} cpu_phase;

struct cpu_kernel {
    lm_kernel base; // base.frames > 0: one phase of cpu_frame_pieces(frames) pieces, piece i = frames cpu_frames(i)
    lm_op op;
    int phases;
    cpu_phase phase[3];
    size_t thread_scratch, shared_scratch;
    // Takes base.held bytes; NULL when the kernel holds nothing.
    lm_status (*reserve)(lm_error *e, cpu_kernel *k);
    // Called by one thread before the phases when weights changed since this kernel last ran; NULL when nothing is
    // packed.
    lm_status (*pack)(lm_error *e, cpu_kernel *k, const lm_io *io);
    uint64_t packed_version;           // 0: never
    void (*free_extra)(cpu_kernel *k); // NULL, or frees what the kernel holds besides itself
};

// Frames in a piece: all kernels over the same number of frames are cut alike, so that chains of them can run piece by
// piece.
static inline int64_t cpu_frames_per_piece(int64_t frames) {
    return (frames + 31) / 32;
}
static inline int64_t cpu_frame_pieces(int64_t frames) {
    int64_t g = cpu_frames_per_piece(frames);
    return (frames + g - 1) / g;
}
typedef struct cpu_range {
    int64_t first, end;
} cpu_range;
static inline cpu_range cpu_frames(int64_t frames, int64_t piece) {
    int64_t g = cpu_frames_per_piece(frames), end = (piece + 1) * g;
    return (cpu_range){piece * g, end < frames ? end : frames};
}

extern const lm_backend lm_cpu_backend;

typedef enum cpu_level { CPU_BASE, CPU_AVX2, CPU_AVX512, CPU_AVX512_BF16 } cpu_level; // what the processor can do

typedef struct cpu_state {
    struct lm_pool *pool;
    int threads;
    cpu_level level;
    void *dnnl; // dnnl.c's engine and one stream per thread
} cpu_state;

// Each family of kernels: fills *out when it takes this op, leaves it NULL when it doesn't (not an error).
lm_status lm_cpu_dnnl_open(lm_error *e, cpu_state *s);
void lm_cpu_dnnl_close(cpu_state *s);
lm_status lm_cpu_prepare_conv(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io,
                              cpu_kernel **out); // conv and linear, all three directions
uint64_t lm_cpu_conv_least_held(const lm_device *d, const lm_op *op, const lm_io *io);
lm_status lm_cpu_prepare_norm(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io,
                              cpu_kernel **out); // norm and its gradients
lm_status lm_cpu_prepare_attention(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out);
lm_status lm_cpu_muon_prepare(lm_error *e, lm_device *d, const lm_matrix_shape *shapes, int count, lm_muon_form form,
                              bool bf16, lm_muon_work **out);
lm_status lm_cpu_muon(lm_error *e, lm_device *d, lm_muon_work *work, const lm_muon *p, const lm_muon_matrix *matrices);
void lm_cpu_muon_release(lm_device *d, lm_muon_work *work);
lm_status lm_cpu_peak(lm_error *e, lm_device *d, lm_dtype type, double *out, lm_dtype *of);
lm_status lm_cpu_prepare_simple(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io,
                                cpu_kernel **out); // everything else
