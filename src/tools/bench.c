// The benchmark's report: a line for each row, then its kernels.
#include "tools/bench_row.h"
#include "tools/tools.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct report {
    lumiere_context *c;
    const lumiere_bench_options *o;
    void (*line)(void *user, const char *text);
    void *user;
    double peak;
    lm_dtype peak_of;
} report;

static void say(const report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const report *r, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    lm_text_vline(text, sizeof text, format, args);
    va_end(args);
    r->line(r->user, text);
}

static bool on_reference(const lm_node_report *n) {
    return !strncmp(n->kernel, "reference", 9);
}

static int reference_nodes(const lm_plan *p) {
    int count = 0;
    for (int i = 0; i < lm_plan_nodes(p); i++) {
        lm_node_report n = lm_plan_node(p, i);
        count += on_reference(&n);
    }
    return count;
}

// Nodes of the same op and kernel, together.
typedef struct kernel_total {
    const char *op, *kernel;
    int nodes;
    double seconds, flops;
} kernel_total;

static int collect_kernels(const lm_plan *p, kernel_total *totals) {
    int count = 0;
    for (int i = 0; i < lm_plan_nodes(p); i++) {
        lm_node_report n = lm_plan_node(p, i);
        int k = 0;
        while (k < count && (strcmp(totals[k].op, n.op) || strcmp(totals[k].kernel, n.kernel))) k++;
        if (k == count) totals[count++] = (kernel_total){.op = n.op, .kernel = n.kernel};
        totals[k].nodes++;
        totals[k].seconds += n.seconds;
        totals[k].flops += n.flops;
    }
    return count;
}

static int by_time(const void *a, const void *b) {
    double x = ((const kernel_total *)a)->seconds, y = ((const kernel_total *)b)->seconds;
    return (x < y) - (x > y);
}

static lm_status print_kernels(lm_error *e, const report *r, const lm_plan *p) {
    int nodes = lm_plan_nodes(p);
    kernel_total *totals = lm_alloc((size_t)nodes, sizeof *totals);
    if (!totals) return lm_fail_memory(e, (double)nodes * sizeof *totals, "the report");
    int count = collect_kernels(p, totals);
    qsort(totals, (size_t)count, sizeof *totals, by_time);
    for (int i = 0; i < count; i++) {
        const kernel_total *t = &totals[i];
        double rate = t->seconds > 0 ? t->flops / t->seconds : 0;
        say(r, "  %-18s %4d nodes %9.2f ms %8.1f GFLOP/s %5.1f %%  %s", t->op, t->nodes, 1e3 * t->seconds, rate / 1e9,
            100 * rate / r->peak, t->kernel);
    }
    lm_free(totals);
    return LM_OK;
}

static void print_nodes(const report *r, const lm_plan *p) {
    for (int i = 0; i < lm_plan_nodes(p); i++) {
        lm_node_report n = lm_plan_node(p, i);
        char shape[80];
        lm_desc_print(&n.out, shape, sizeof shape);
        say(r, "  %4d %9.3f ms %8.1f GFLOP/s  %-18s %-28s %-32s %s", i, 1e3 * n.seconds,
            n.seconds > 0 ? n.flops / n.seconds / 1e9 : 0, n.op, n.kernel, shape, n.name);
    }
}

// The memory plan, a line a node: inputs, outputs and where they lie.
static lm_status print_plan(lm_error *e, const report *r, const lm_plan *p) {
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (f) lm_plan_print(p, f);
    lm_status status = f && !fclose(f) ? LM_OK : lm_fail_memory(e, 1e5, "the plan's text");
    for (char *line = status == LM_OK ? text : NULL, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        r->line(r->user, line);
    }
    free(text);
    return status;
}

static json_t *nodes_json(const lm_plan *p) {
    json_t *list = json_array();
    for (int i = 0; i < lm_plan_nodes(p); i++) {
        lm_node_report n = lm_plan_node(p, i);
        char shape[80];
        lm_desc_print(&n.out, shape, sizeof shape);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f}", "name", n.name, "op", n.op, "kernel",
                                              n.kernel, "out", shape, "flops", n.flops, "seconds", n.seconds));
    }
    return list;
}

static void optimisers_json(json_t *object, const bench_row *row) {
    if (row->kind.train) {
        json_object_set_new(object, "batch", json_integer(row->kind.clips));
        json_object_set_new(object, "adamw_seconds", json_real(row->adamw.seconds));
    }
    if (row->muon.seconds > 0) {
        json_object_set_new(object, "muon_seconds", json_real(row->muon.seconds));
        json_object_set_new(object, "muon_gflop", json_real(row->muon.flops / 1e9));
        json_object_set_new(object, "muon_kernel", json_string(row->muon.kernel));
    }
}

// A step's time is of the network and AdamW.
static void print_optimisers(const report *r, const bench_row *row) {
    const double network = row->fastest - row->adamw.seconds;
    if (!row->kind.train) return;
    say(r, "  batch %d: forward and backward %.4f s, %.4f s a clip", row->kind.clips, network,
        network / row->kind.clips);
    say(r, "  optimiser, AdamW on all: %.4f s, %.1f %% of forward and backward", row->adamw.seconds,
        100 * row->adamw.seconds / network);
    if (row->muon.seconds > 0)
        say(r, "  optimiser, Muon's matrices: %.4f s, %.1f %% of forward and backward; %.1f GFLOP, %.1f GFLOP/s, %s",
            row->muon.seconds, 100 * row->muon.seconds / network, row->muon.flops / 1e9,
            row->muon.flops / row->muon.seconds / 1e9, row->muon.kernel);
}

static lm_status print_json(lm_error *e, const report *r, const bench_row *row) {
    json_t *object = json_pack(
        "{s:s, s:f, s:f, s:f, s:f, s:f, s:s, s:f, s:s, s:i, s:I, s:I, s:I, s:i, s:i, s:s}", "row", row->kind.name,
        "seconds_min", row->fastest, "seconds_median", row->median, "gflop", row->flops / 1e9, "gflops",
        row->flops / row->fastest / 1e9, "peak_gflops", r->peak / 1e9, "peak_of", lm_dtype_name(r->peak_of),
        "peak_share", row->flops / row->fastest / r->peak, "dtype", lm_dtype_name(r->c->compute), "threads",
        r->c->threads, "peak_bytes", (json_int_t)row->measured, "planned_bytes", (json_int_t)row->planned, "code_bytes",
        (json_int_t)row->code, "nodes", lm_plan_nodes(row->plan), "reference_nodes", reference_nodes(row->plan),
        "device", r->c->device->summary);
    if (object) optimisers_json(object, row);
    if (object && r->o->nodes) json_object_set_new(object, "node_list", nodes_json(row->plan));
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    if (text) r->line(r->user, text);
    lm_status status = text ? LM_OK : lm_fail_memory(e, 4096, "the report");
    free(text);
    json_decref(object);
    return status;
}

static lm_status print_row(lm_error *e, const report *r, const bench_row *row) {
    if (r->o->json) return print_json(e, r, row);
    int reference = reference_nodes(row->plan), nodes = lm_plan_nodes(row->plan);
    double rate = row->flops / row->fastest;
    say(r, "%s: %.4f s fastest, %.4f s median of %d; %.1f GFLOP, %.1f GFLOP/s, %.1f %% of the peak", row->kind.name,
        row->fastest, row->median, r->o->repeat, row->flops / 1e9, rate / 1e9, 100 * rate / r->peak);
    say(r,
        "  memory beside weights and optimiser: %.1f MB measured, %.1f MB planned (%+.1f %%); oneDNN's code: %.1f MB",
        (double)row->measured / 1e6, (double)row->planned / 1e6,
        100 * ((double)row->planned / (double)row->measured - 1), (double)row->code / 1e6);
    if (reference)
        say(r, "  %d of %d nodes ran on the reference device", reference, nodes);
    else
        say(r, "  none of %d nodes ran on the reference device", nodes);
    print_optimisers(r, row);
    LM_TRY(print_kernels(e, r, row->plan));
    if (r->o->nodes) print_nodes(r, row->plan);
    return r->o->trace_plan ? print_plan(e, r, row->plan) : LM_OK;
}

// The largest of all measurements counts: another program may have had the processor during one.
static lm_status measure_peak(lm_error *e, report *r) {
    double peak;
    LM_TRY(r->c->device->backend->peak(e, r->c->device, r->c->compute, &peak, &r->peak_of));
    if (peak > r->peak) r->peak = peak;
    return LM_OK;
}

static lm_status bench_one(lm_error *e, report *r, const bench_kind *kind) {
    bench_row row;
    bench_kind wanted = *kind;
    if (r->o->batch && kind->train && !kind->video) wanted.clips = r->o->batch;
    lm_status status = lm_bench_row_run(e, r->c, &wanted, r->o->repeat, &row);
    if (status == LM_OK) status = measure_peak(e, r);
    if (status == LM_OK) status = print_row(e, r, &row);
    lm_bench_row_free(&row);
    return status;
}

enum { MAX_ROWS = 8 };

// The rows named in a list separated by commas.
static lm_status find_rows(lm_error *e, const char *list, const bench_kind **kinds, int *count) {
    for (*count = 0;; list++) {
        size_t n = strcspn(list, ",");
        const bench_kind *kind = lm_bench_kind_find(list, n);
        if (!kind || *count == MAX_ROWS)
            return lm_fail(e, LM_USAGE, "there is no row \"%.*s\"; forward, image, video and ssr are",
                           (int)(n < 40 ? n : 40), list);
        kinds[(*count)++] = kind;
        list += n;
        if (!*list) return LM_OK;
    }
}

static lm_status bench(lm_error *e, report *r) {
    const bench_kind *kinds[MAX_ROWS];
    int count;
    LM_TRY(lm_context_device(e, r->c));
    if (r->o->repeat < 1 || r->o->repeat > 1000)
        return lm_fail(e, LM_USAGE, "%d repeats; 1 to 1000 are possible", r->o->repeat);
    if (r->o->batch < 0 || r->o->batch > BENCH_CLIPS)
        return lm_fail(e, LM_USAGE, "a batch of %d; 1 to %d are possible", r->o->batch, BENCH_CLIPS);
    LM_TRY(find_rows(e, r->o->rows ? r->o->rows : "forward,image,video", kinds, &count));
    LM_TRY(measure_peak(e, r));
    if (!r->o->json)
        say(r, "%s; %s; peak of registers alone: %.1f GFLOP/s in %s", r->c->device->summary, r->c->precision,
            r->peak / 1e9, lm_dtype_name(r->peak_of));
    for (int i = 0; i < count; i++) LM_TRY(bench_one(e, r, kinds[i]));
    return LM_OK;
}

lm_status lm_bench(lm_error *e, lumiere_context *c, const lumiere_bench_options *o,
                   void (*line)(void *user, const char *text), void *user) {
    report r = {.c = c, .o = o, .line = line, .user = user};
    return bench(e, &r);
}
