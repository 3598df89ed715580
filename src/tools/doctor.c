// Is everything in order: the device's arithmetic, memory, the media libraries, a model folder.
#include "tools/tools.h"

#include "pipeline/job.h"

#include "base/memory.h"
#include "base/plain_text.h"
#include "base/random.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct doctor {
    lumiere_context *c;
    void (*line)(void *user, bool ok, const char *text);
    void *user;
    int failures;
    lm_status first; // what failed first decides the status
} doctor;

static void say(doctor *d, lm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(doctor *d, lm_status status, const char *format, ...) {
    char text[640];
    va_list args;
    va_start(args, format);
    lm_text_vline(text, sizeof text, format, args);
    va_end(args);
    d->line(d->user, status == LM_OK, text);
    if (status != LM_OK && d->failures++ == 0) d->first = status;
}

enum { TRIAL_SIDE = 16, TRIAL_FRAMES = 8, TRIAL_NUMBERS = 1 << 22 };

static lm_unet_config trial_config(void) {
    lm_unet_config c = lm_unet_config_default();
    c.video = true;
    c.max_frames = TRIAL_FRAMES;
    c.temporal_attention_blocks = 1;
    for (int i = 0; i + 1 < c.levels; i++) c.temporal_down[i] = true;
    for (int i = 0; i < c.levels; i++) c.channels[i] = 32;
    return c;
}

static const float *trial_noise(float *numbers, int64_t count, uint32_t stream) {
    lm_random_normal(numbers, count, 7, LM_FOR_TEST, stream, 0, 0);
    return numbers;
}

// Random weights on the device.
static lm_status trial_weights(lm_error *e, lm_device *d, const lm_graph *g, float **out) {
    const int64_t n = lm_graph_param_count(g);
    float *host = lm_alloc((size_t)n, sizeof *host);
    if (!host) return lm_fail_memory(e, 4.0 * (double)n, "a trial");
    trial_noise(host, n, 99);
    for (int64_t i = 0; i < n; i++) host[i] *= 0.05f;
    lm_status status = d->backend->alloc(e, d, (size_t)n * sizeof *host, (void **)out);
    if (status == LM_OK) status = d->backend->upload(e, d, *out, host, (size_t)n * sizeof *host);
    lm_free(host);
    return status;
}

// A small network with random weights, node by node against the reference device.
typedef struct trial {
    lm_network *network;
    lm_plan *plan;
    float *weights, *numbers;
} trial;

static lm_status trial_run(lm_error *e, lumiere_context *c, lm_dtype compute, trial *t, double *worst, int *node) {
    const lm_unet_config config = trial_config();
    const lm_net_use use = {.shape = {1, TRIAL_FRAMES, TRIAL_SIDE, TRIAL_SIDE, config.text_tokens}};
    const int64_t pixels = TRIAL_FRAMES * TRIAL_SIDE * TRIAL_SIDE * 3,
                  text = (int64_t)config.text_tokens * config.text_width;
    lm_graph *graph;
    LM_TRY(lm_network_create(e, c->device, &lm_unet_family, &config, compute, &t->network));
    LM_TRY(lm_network_plan(e, t->network, &use, &t->plan, &graph));
    LM_TRY(trial_weights(e, c->device, graph, &t->weights));
    t->numbers = lm_alloc((size_t)(pixels + text + config.text_tokens), sizeof *t->numbers);
    if (!t->numbers) return lm_fail_memory(e, 4.0 * (double)(pixels + text), "a trial");
    float *mask = t->numbers + pixels + text;
    for (int i = 0; i < config.text_tokens; i++) mask[i] = i % 2 ? 0.5f : 1;
    const lm_feed feeds[] = {{"x", trial_noise(t->numbers, pixels, 1)},
                             {"text", trial_noise(t->numbers + pixels, text, 2)},
                             {"t", mask},
                             {"mask", mask},
                             {NULL, NULL}};
    LM_TRY(lm_network_run(e, t->network, &use, t->weights, NULL, feeds, (const lm_fetch[]){{NULL, NULL}}));
    return lm_plan_compare(e, t->plan, worst, node);
}

static void check_arithmetic(doctor *d, lm_dtype compute, double most) {
    lm_error e = {0};
    trial t = {0};
    double worst = 0;
    int node = -1;
    lm_status status = trial_run(&e, d->c, compute, &t, &worst, &node);
    if (status != LM_OK)
        say(d, status, "arithmetic in %s: %s", lm_dtype_name(compute), e.text);
    else if (!(worst <= most)) {
        lm_node_report n = lm_plan_node(t.plan, node);
        say(d, LM_FAILED, "arithmetic in %s: %s (%s) is off by %.1e of the reference, at most %.0e is right",
            lm_dtype_name(compute), n.op, n.kernel, worst, most);
    } else
        say(d, LM_OK, "arithmetic in %s: %d nodes as on the reference device (largest normalised square error %.1e)",
            lm_dtype_name(compute), lm_plan_nodes(t.plan), worst);
    lm_network_free(&t.network);
    if (t.weights) d->c->device->backend->release_memory(d->c->device, t.weights);
    lm_free(t.numbers);
}

static void check_memory(doctor *d) {
    double free_bytes = (double)lm_memory_available();
    say(d, free_bytes < 7e8 ? LM_MEMORY : LM_OK,
        "memory: %.1f GB free; a clip of 80 frames at 64x64 takes up to 0.7 GB", free_bytes / 1e9);
}

// Writes a few frames in each format and reads them back.
static void check_format(doctor *d, const char *folder, const char *ending) {
    lm_error e = {0};
    lm_clip clip = {0}, back = {0};
    char *path = lm_format("%s/check%s", folder, ending);
    lm_status status = path ? lm_clip_alloc(&e, 8, 32, 32, 3, &clip) : lm_fail_memory(&e, 4096, "a path");
    if (status == LM_OK) {
        clip.fps = 16;
        for (int i = 0; i < 8 * 32 * 32 * 3; i++) clip.data[i] = (uint8_t)(i / 96 + i / 3072 * 16);
        status = lm_media_write(&e, path, &clip, NULL);
    }
    if (status == LM_OK) status = lm_media_read(&e, path, 0, &back);
    if (status == LM_OK && (back.frames != 8 || back.width != 32 || back.height != 32))
        status =
            lm_fail(&e, LM_MEDIA, "8 frames of 32x32 came back as %d of %dx%d", back.frames, back.width, back.height);
    say(d, status, "media: %s%s", ending, status == LM_OK ? " is written and read back" : "");
    if (status != LM_OK) say(d, status, "media: %s", e.text);
    if (path) unlink(path);
    lm_clip_free(&clip);
    lm_clip_free(&back);
    lm_free(path);
}

static void check_media(doctor *d) {
    static const char *const endings[] = {".mp4", ".webm", ".gif", ".apng", ".webp", ".npy"};
    const char *tmp = getenv("TMPDIR");
    char *folder = lm_format("%s/lumiere-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!folder || !mkdtemp(folder)) {
        say(d, LM_MEDIA, "media: no folder for temporary files under %s", tmp && *tmp ? tmp : "/tmp");
    } else {
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) check_format(d, folder, endings[i]);
        rmdir(folder);
    }
    lm_free(folder);
}

static void check_upscaler(doctor *d, lumiere_model *m) {
    const lm_upscale_options o = {0};
    lm_error e = {0};
    lm_job job;
    lumiere_estimate estimate;
    const int side = (int)lm_model_default(m, "width"), frames = (int)lm_model_default(m, "frames");
    const lumiere_clip shape = {.clip = {.frames = frames, .width = side, .height = side, .channels = 3}};
    lm_status status = lm_upscale_load(&e, m);
    if (status == LM_OK) status = lm_job_resolve_upscale(&e, m, &shape, &o, &job);
    if (status == LM_OK) status = lm_job_estimate(&e, &job, &estimate);
    if (status != LM_OK)
        say(d, status, "super-resolution: %s", e.text);
    else
        say(d, LM_OK, "super-resolution: %.1f million weights; %d frames to %dx%d: about %.0f s and %.0f MB",
            (double)lm_weights_count(m->ssr->weights) / 1e6, frames, estimate.width, estimate.height, estimate.seconds,
            (double)estimate.bytes / 1e6);
}

static void check_generation(doctor *d, lumiere_model *m) {
    const lm_task_options o = {.generate = {.prompt = "a rocket"}};
    lm_error e = {0};
    lm_job job;
    lumiere_estimate estimate;
    lm_status status = lm_job_resolve(&e, m, &o, &job);
    if (status == LM_OK) status = lm_job_estimate(&e, &job, &estimate);
    if (status != LM_OK)
        say(d, status, "model: %s", e.text);
    else
        say(d, LM_OK, "model: %d frames at %dx%d, %d steps: about %.0f s and %.0f MB", estimate.frames, estimate.width,
            estimate.height, estimate.steps, estimate.seconds, (double)estimate.bytes / 1e6);
}

static void check_model(doctor *d, const char *folder) {
    lumiere_model *m = NULL;
    lm_error e = {0};
    lm_status status = lm_model_open(&e, d->c, folder, true, &m);
    if (status == LM_OK) status = lm_model_hash(&e, m);
    if (status == LM_OK) {
        say(d, LM_OK, "model: %s %s, %s, %.1f million weights, hash %s", lm_model_folder_name(m->folder),
            lm_model_folder_version(m->folder), lm_model_folder_licence(m->folder),
            (double)lm_weights_count(m->weights) / 1e6, m->hash);
        check_generation(d, m);
        if (m->ssr) check_upscaler(d, m);
    } else
        say(d, status, "model: %s", e.text);
    lm_model_free(&m);
}

lm_status lm_doctor(lm_error *e, lumiere_context *c, const char *model,
                    void (*line)(void *user, bool ok, const char *text), void *user) {
    doctor d = {.c = c, .line = line, .user = user};
    LM_TRY(lm_context_device(e, c));
    say(&d, LM_OK, "lumiere %s on %s", LUMIERE_VERSION, c->device->summary);
    say(&d, LM_OK, "precision: %s", c->precision);
    check_arithmetic(&d, LM_F32, 1e-9);
    check_arithmetic(&d, LM_BF16, 5e-5);
    check_memory(&d);
    check_media(&d);
    if (model) check_model(&d, model);
    if (!d.failures) return LM_OK;
    return lm_fail(e, d.first, "%d check%s failed, see above", d.failures, d.failures == 1 ? "" : "s");
}
