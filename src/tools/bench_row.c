#include "tools/bench_row.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const bench_kind kinds[] = {
    {"forward", true, false, false, 1, 80, 64},
    {"image", false, true, false, 64, 1, 32},
    {"video", true, true, false, 1, 80, 64},
    {"ssr", true, false, true, 1, 16, 256},
};

const bench_kind *lm_bench_kind_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == length && !strncmp(kinds[i].name, name, length)) return &kinds[i];
    return NULL;
}

static lm_unet_config config_of(const bench_kind *k) {
    lm_unet_config c = lm_unet_config_default();
    if (k->ssr) return lm_unet_config_ssr();
    if (!k->video) return c;
    c.video = true;
    c.cond_channels = 4;
    for (int i = 0; i + 1 < c.levels; i++) c.temporal_down[i] = true;
    c.temporal_attention_blocks = 2;
    c.max_frames = 80;
    return c;
}

static lm_status create_network(lm_error *e, const lumiere_context *c, bench_row *row) {
    const bench_kind *k = &row->kind;
    const lm_unet_config config = config_of(k);
    row->use = (lm_net_use){.shape = {k->clips, k->frames, k->size, k->size, config.text_tokens},
                            .purpose = k->train ? LM_NET_TRAIN : LM_NET_PREDICT,
                            .trained = k->video ? lm_unet_is_inflation : NULL,
                            .kept = true};
    return lm_network_create(e, row->device, &lm_unet_family, &config, c->compute, &row->network);
}

static lm_status alloc(lm_error *e, bench_row *row, int64_t floats, float **out) {
    return row->device->backend->alloc(e, row->device, (size_t)(floats ? floats : 1) * sizeof(float), (void **)out);
}

// Weights at birth, those born zero too, so that no multiplication is by zero.
static lm_status make_weights(lm_error *e, bench_row *row) {
    int64_t n = lm_graph_param_count(row->graph), trained = lm_graph_grad_count(row->graph);
    LM_TRY(alloc(e, row, n, &row->weights));
    if (row->kind.train) {
        LM_TRY(alloc(e, row, n, &row->average));
        LM_TRY(alloc(e, row, trained, &row->grads));
        LM_TRY(alloc(e, row, 2 * trained, &row->moments));
    }
    float *block = lm_alloc_zero((size_t)(n > 2 * trained ? n : 2 * trained), sizeof(float));
    if (!block) return lm_fail_memory(e, 4.0 * (double)n, "the weights");
    const lm_backend *b = row->device->backend;
    lm_status status = LM_OK;
    if (row->moments) status = b->upload(e, row->device, row->moments, block, 2 * (size_t)trained * sizeof(float));
    for (int i = 0; i < lm_graph_params(row->graph); i++) {
        const lm_param_info *p = lm_graph_param(row->graph, i);
        lm_param_born(row->graph, i, 1, block);
        if (p->init.kind == LM_INIT_ZERO)
            lm_random_normal(block + p->offset, lm_desc_count(&p->desc), 2, LM_FOR_INIT, (uint32_t)i, 0, 0);
        for (int64_t j = 0; p->init.kind == LM_INIT_ZERO && j < lm_desc_count(&p->desc); j++)
            block[p->offset + j] *= 0.02f;
    }
    if (status == LM_OK) status = b->upload(e, row->device, row->weights, block, (size_t)n * sizeof(float));
    if (status == LM_OK && row->average)
        status = b->upload(e, row->device, row->average, block, (size_t)n * sizeof(float));
    lm_free(block);
    return status;
}

// Runs of parameters that are trained, one update each.
static lm_status update(lm_error *e, bench_row *row) {
    lm_adamw rule = {1e-5f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, 0.999f, ++row->updates};
    int count = lm_graph_params(row->graph);
    int64_t trained = lm_graph_grad_count(row->graph);
    for (int i = 0, j; i < count; i = j) {
        const lm_param_info *p = lm_graph_param(row->graph, i);
        int64_t n = 0;
        for (j = i; j < count && lm_graph_param(row->graph, j)->trainable == p->trainable; j++)
            n += lm_desc_count(&lm_graph_param(row->graph, j)->desc);
        if (!p->trainable) continue;
        float *m = row->moments + p->grad_offset;
        LM_TRY(row->device->backend->adamw(e, row->device, &rule, row->weights + p->offset, row->grads + p->grad_offset,
                                           m, m + trained, row->average + p->offset, n));
    }
    lm_network_changed(row->network);
    return LM_OK;
}

static lm_status run_network(lm_error *e, bench_row *row) {
    float t[BENCH_CLIPS], mask[BENCH_CLIPS * LM_TEXT_TOKENS];
    for (int i = 0; i < row->kind.clips; i++) {
        t[i] = (float)(i + 1) / (float)(row->kind.clips + 1);
        for (int j = 0; j < LM_TEXT_TOKENS; j++) mask[i * LM_TEXT_TOKENS + j] = j < 8;
    }
    const lm_feed feeds[] = {{"x", row->noise},
                             {"cond", row->noise},
                             {"text", row->noise},
                             {"moment", row->noise},
                             {"target", row->noise},
                             {"noise_level", t},
                             {"t", t},
                             {"mask", mask},
                             {NULL, NULL}};
    return lm_network_run(e, row->network, &row->use, row->weights, row->grads, feeds,
                          (const lm_fetch[]){{NULL, NULL}});
}

static lm_status run_once(lm_error *e, bench_row *row) {
    LM_TRY(run_network(e, row));
    if (!row->kind.train) return LM_OK;
    const double start = lm_seconds();
    LM_TRY(update(e, row));
    const double took = lm_seconds() - start;
    if (row->adamw.seconds == 0 || took < row->adamw.seconds) row->adamw.seconds = took;
    return LM_OK;
}

// A number of kB in /proc/self/status, in bytes.
static uint64_t process_bytes(const char *key) {
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) sscanf(line + strlen(key), "%llu", &kib);
    if (f) fclose(f);
    return kib * 1024;
}

// The peak of resident memory starts anew from what is resident now.
static void reset_peak(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static lm_status time_runs(lm_error *e, bench_row *row, int repeat) {
    double *times = lm_alloc((size_t)repeat, sizeof *times);
    if (!times) return lm_fail_memory(e, (double)repeat * sizeof *times, "the times");
    lm_status status = run_once(e, row);
    for (int i = 0; i < repeat && status == LM_OK; i++) {
        double start = lm_seconds();
        status = run_once(e, row);
        times[i] = lm_seconds() - start;
    }
    if (status == LM_OK) {
        qsort(times, (size_t)repeat, sizeof *times, by_value);
        row->fastest = times[0];
        row->median = times[repeat / 2];
    }
    lm_free(times);
    return status;
}

// Enough for any input: the condition has most channels, or else the texts are longest.
static lm_status make_noise(lm_error *e, bench_row *row) {
    const bench_kind *k = &row->kind;
    const lm_unet_config config = config_of(k);
    const int64_t pixels = (int64_t)k->clips * k->frames * k->size * k->size * (3 + config.cond_channels);
    const int64_t texts = (int64_t)k->clips * config.text_tokens * config.text_width,
                  n = pixels > texts ? pixels : texts;
    row->noise = lm_alloc((size_t)n, sizeof(float));
    if (!row->noise) return lm_fail_memory(e, 4.0 * (double)n, "the inputs");
    lm_random_normal(row->noise, n, 3, LM_FOR_TEST, 0, 0, 0);
    return LM_OK;
}

// Prepares every kernel once, so that what oneDNN keeps of it is not taken for the plan's.
static lm_status prepare_code(lm_error *e, bench_row *row) {
    malloc_trim(0);
    uint64_t before = process_bytes("VmRSS:");
    LM_TRY(lm_network_prepare(e, row->network, &row->use));
    lm_network_drop(row->network, &row->use);
    malloc_trim(0);
    uint64_t after = process_bytes("VmRSS:");
    row->code = after > before ? after - before : 0;
    return LM_OK;
}

lm_status lm_bench_row_run(lm_error *e, const lumiere_context *c, const bench_kind *kind, int repeat, bench_row *row) {
    *row = (bench_row){.kind = *kind, .device = c->device};
    LM_TRY(create_network(e, c, row));
    LM_TRY(make_noise(e, row));
    LM_TRY(prepare_code(e, row));
    const uint64_t before = process_bytes("VmRSS:");
    LM_TRY(lm_network_plan(e, row->network, &row->use, &row->plan, &row->graph));
    LM_TRY(make_weights(e, row));
    reset_peak();
    LM_TRY(time_runs(e, row, repeat));
    // weights, their average, gradients and moments are no part of the plan
    const uint64_t weights = (uint64_t)lm_graph_param_count(row->graph) * sizeof(float),
                   gradients = (uint64_t)lm_graph_grad_count(row->graph) * sizeof(float),
                   state = kind->train ? 2 * weights + 3 * gradients : weights, peak = process_bytes("VmHWM:");
    row->measured = peak > before + state ? peak - before - state : 0;
    row->planned = lm_plan_total_bytes(row->plan);
    row->flops = lm_plan_flops(row->plan);
    if (kind->train && !kind->video) LM_TRY(lm_bench_muon(e, c, row, repeat));
    lm_plan_profile(row->plan, true);
    return run_network(e, row);
}

void lm_bench_row_free(bench_row *row) {
    lm_network_free(&row->network);
    float *blocks[] = {row->weights, row->grads, row->moments, row->average};
    for (int i = 0; i < 4; i++)
        if (blocks[i]) row->device->backend->release_memory(row->device, blocks[i]);
    lm_free(row->noise);
    *row = (bench_row){0};
}
