// A oneDNN that refuses to run: this program's dnnl_primitive_execute stands before the library's. For one source of a
// program.
#pragma once
#include <dlfcn.h>
#include <dnnl.h>
#include <stdatomic.h>

static atomic_long dnnl_runs;                           // of primitives, refused ones included
static long dnnl_refuse_from, dnnl_refuse_count;        // the first run refused, counted from 1, and how many are
static dnnl_status_t dnnl_refusal = dnnl_out_of_memory; // what a refused run returns
static dnnl_status_t (*dnnl_real_execute)(const_dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t *);

__attribute__((constructor)) static void dnnl_find_execute(void) {
    *(void **)&dnnl_real_execute = dlsym(RTLD_NEXT, "dnnl_primitive_execute");
}

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t p, dnnl_stream_t stream, int count,
                                     const dnnl_exec_arg_t *arg) {
    const long run = atomic_fetch_add(&dnnl_runs, 1) + 1;
    if (dnnl_refuse_from && run >= dnnl_refuse_from && run - dnnl_refuse_from < dnnl_refuse_count) return dnnl_refusal;
    return dnnl_real_execute(p, stream, count, arg);
}

// Counts runs anew and refuses those; from 0: none.
static inline void dnnl_refuse(long from, long count) {
    atomic_store(&dnnl_runs, 0);
    dnnl_refuse_from = from;
    dnnl_refuse_count = count;
}
