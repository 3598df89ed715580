#include "device/cpu/onednn.h"
#include "base/memory.h"
#include <sys/mman.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

lm_status lm_dn_fail(lm_error *e, dnnl_status_t status, const char *what) {
    if (status == dnnl_out_of_memory) return lm_fail(e, LM_MEMORY, "oneDNN: no memory for %s", what);
    return lm_fail(e, LM_FAILED, "oneDNN refused %s (status %d)", what, (int)status);
}

lm_status lm_cpu_dnnl_open(lm_error *e, cpu_state *s) {
    cpu_dnnl *d = lm_alloc_zero(1, sizeof *d);
    if (!d) return lm_fail_memory(e, sizeof *d, "the oneDNN engine");
    s->dnnl = d;
    dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    d->stream = lm_alloc_zero((size_t)s->threads, sizeof *d->stream);
    if (status == dnnl_success && !d->stream) status = dnnl_out_of_memory;
    for (; status == dnnl_success && d->threads < s->threads; d->threads++) {
        status = dnnl_stream_create(&d->stream[d->threads], d->engine, dnnl_stream_default_flags);
        if (status != dnnl_success) break;
    }
    if (status == dnnl_success) return LM_OK;
    lm_cpu_dnnl_close(s);
    return lm_dn_fail(e, status, "an engine for the processor");
}

void lm_cpu_dnnl_close(cpu_state *s) {
    cpu_dnnl *d = s->dnnl;
    if (!d) return;
    for (int i = 0; i < d->threads; i++) dnnl_stream_destroy(d->stream[i]);
    if (d->engine) dnnl_engine_destroy(d->engine);
    lm_free(d->stream);
    lm_free(d);
    s->dnnl = NULL;
}

// oneDNN asks OpenMP how many threads to use, when a primitive is made and when it runs. The setting belongs to the
// calling thread, which may be the user's own.
static int hold_one_thread(void) {
    int before = omp_get_max_threads();
    if (before != 1) omp_set_num_threads(1);
    return before;
}

static void restore_threads(int before) {
    if (before != 1) omp_set_num_threads(before);
}

void lm_dn_op_free(dn_op *op) {
    lm_dn_layout_free(&op->x);
    lm_dn_layout_free(&op->weights);
    lm_dn_layout_free(&op->bias);
    lm_dn_layout_free(&op->y);
}

dnnl_status_t lm_dn_describe(const cpu_dnnl *d, const dn_op *op, bool acc, const_dnnl_primitive_desc_t hint,
                             dnnl_primitive_desc_t *out) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && acc) {
        status = dnnl_post_ops_create(&post);
        if (status == dnnl_success) status = lm_dn_version_append_sum(post);
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attr, post);
    }
    if (status == dnnl_success) {
        int before = hold_one_thread();
        status = lm_dn_version_describe(d->engine, op, attr, hint, out);
        restore_threads(before);
    }
    if (post) dnnl_post_ops_destroy(post);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

static const char *implementation(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return status == dnnl_success && name ? name : "unknown";
}

bool lm_dn_is_plain(const_dnnl_primitive_desc_t pd) {
    const char *name = implementation(pd);
    return strncmp(name, "ref", 3) == 0 || strncmp(name, "gemm:ref", 8) == 0 || strncmp(name, "simple", 6) == 0;
}

enum { CODE_ROOM = 32 << 20 }; // more than one primitive's code takes

// oneDNN makes code without asking whether it got memory to put it in, and writes through a null pointer.
static bool has_room_for_code(void) {
    void *p = mmap(NULL, CODE_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED && munmap(p, CODE_ROOM) == 0;
}

lm_status lm_dn_create(lm_error *e, const cpu_dnnl *d, const_dnnl_primitive_desc_t pd, const int *args, int count,
                       dn_primitive *out) {
    *out = (dn_primitive){.count = count + 1, .threads = d->threads}; // the last one is the scratchpad
    if (!has_room_for_code()) return lm_fail_memory(e, CODE_ROOM, "oneDNN's code");
    snprintf(out->impl, sizeof out->impl, "%s", implementation(pd));
    out->arg = lm_alloc_zero((size_t)(out->count * out->threads), sizeof *out->arg);
    int before = hold_one_thread();
    dnnl_status_t status = out->arg ? dnnl_primitive_create(&out->handle, pd) : dnnl_out_of_memory;
    for (int i = 0; status == dnnl_success && i < out->count * out->threads; i++) {
        int number = i % out->count < count ? args[i % out->count] : DNNL_ARG_SCRATCHPAD;
        dn_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, number);
        if (number == DNNL_ARG_SCRATCHPAD) md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        if (number == DNNL_ARG_SCRATCHPAD) out->scratch = dnnl_memory_desc_get_size(md);
        out->arg[i].arg = number;
        status = dnnl_memory_create(&out->arg[i].memory, md, d->engine, DNNL_MEMORY_NONE);
    }
    restore_threads(before);
    if (status == dnnl_success) return LM_OK;
    lm_dn_destroy(out);
    return lm_dn_fail(e, status, "a primitive");
}

void lm_dn_destroy(dn_primitive *p) {
    for (int i = 0; p->arg && i < p->count * p->threads; i++)
        if (p->arg[i].memory) dnnl_memory_destroy(p->arg[i].memory);
    if (p->handle) dnnl_primitive_destroy(p->handle);
    lm_free(p->arg);
    *p = (dn_primitive){0};
}

lm_status lm_dn_bind(lm_error *e, const dn_primitive *p, int i, void *data) {
    for (int t = 0; t < p->threads; t++) {
        dnnl_status_t status = dnnl_memory_set_data_handle(p->arg[t * p->count + i].memory, data);
        if (status != dnnl_success) return lm_dn_fail(e, status, "memory");
    }
    return LM_OK;
}

lm_status lm_dn_run(lm_error *e, const cpu_dnnl *d, const dn_primitive *p, int thread, void *const *data,
                    void *scratch) {
    dnnl_exec_arg_t *arg = p->arg + thread * p->count;
    dnnl_stream_t stream = d->stream[thread];
    int before = hold_one_thread();
    dnnl_status_t status = dnnl_success;
    for (int i = 0; status == dnnl_success && i < p->count; i++) {
        void *at = i < p->count - 1 ? data[i] : scratch;
        if (at) status = lm_dn_version_set_data(arg[i].memory, at, stream);
    }
    if (status == dnnl_success) status = dnnl_primitive_execute(p->handle, stream, p->count, arg);
    restore_threads(before);
    return status == dnnl_success ? LM_OK : lm_dn_fail(e, status, "the run of a primitive");
}
