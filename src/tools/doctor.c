// Is everything in order: the device's arithmetic, memory, the media libraries, a model folder.
#include "pipeline/upscale.h"

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

// A small network with random weights, node by node against the reference device.
typedef struct trial {
    lm_graph *graph;
    lm_plan *plan;
    float *weights, *numbers;
} trial;

static lm_status trial_input(lm_error *e, trial *t, lm_tensor x, uint32_t stream) {
    lm_desc d = lm_tensor_desc(t->graph, x);
    int64_t n = lm_desc_count(&d);
    lm_random_normal(t->numbers, n, 7, LM_FOR_TEST, stream, 0, 0);
    if (stream == 0) // times and masks
        for (int64_t i = 0; i < n; i++) t->numbers[i] = i % 2 ? 0.5f : 1;
    return lm_plan_write(e, t->plan, x, t->numbers, (size_t)lm_desc_bytes(&d));
}

static lm_status trial_run(lm_error *e, lumiere_context *c, lm_dtype compute, trial *t, double *worst, int *node) {
    enum { SIDE = 16, FRAMES = 8, NUMBERS = 1 << 22 };
    lm_unet_config config = lm_unet_config_default();
    config.video = true;
    config.max_frames = FRAMES;
    config.temporal_attention_blocks = 1;
    for (int i = 0; i + 1 < config.levels; i++) config.temporal_down[i] = true;
    for (int i = 0; i < config.levels; i++) config.channels[i] = 32;
    t->graph = lm_graph_create(compute);
    t->numbers = lm_alloc(NUMBERS, sizeof(float));
    if (!t->graph || !t->numbers) return lm_fail_memory(e, 4.0 * NUMBERS, "a trial");
    lm_unet net = lm_unet_build(t->graph, &config, 1, FRAMES, SIDE, SIDE, LM_TEXT_TOKENS);
    LM_TRY(lm_graph_status(t->graph, e));
    int64_t n = lm_graph_param_count(t->graph);
    if (n > NUMBERS) return lm_fail(e, LM_FAILED, "the trial network has %lld weights", (long long)n);
    LM_TRY(c->device->backend->alloc(e, c->device, (size_t)n * sizeof(float), (void **)&t->weights));
    lm_random_normal(t->numbers, n, 7, LM_FOR_TEST, 99, 0, 0);
    for (int64_t i = 0; i < n; i++) t->numbers[i] *= 0.05f;
    LM_TRY(c->device->backend->upload(e, c->device, t->weights, t->numbers, (size_t)n * sizeof(float)));
    LM_TRY(lm_plan_create(e, t->graph, c->device, &t->plan));
    lm_plan_bind(t->plan, t->weights, NULL);
    LM_TRY(trial_input(e, t, net.x, 1));
    LM_TRY(trial_input(e, t, net.text, 2));
    LM_TRY(trial_input(e, t, net.t, 0));
    LM_TRY(trial_input(e, t, net.mask, 0));
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
    lm_plan_free(&t.plan);
    lm_graph_free(&t.graph);
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
    lumiere_estimate estimate;
    const lumiere_upscale_options o = {0};
    int side = (int)lumiere_model_default(m, "width"), frames = (int)lumiere_model_default(m, "frames");
    if (lumiere_estimate_upscale(d->c, m, frames, side, side, &o, &estimate) != LUMIERE_OK)
        say(d, d->c->error.status, "super-resolution: %s", d->c->error.text);
    else
        say(d, LM_OK, "super-resolution: %.1f million weights; %d frames to %dx%d: about %.0f s and %.0f MB",
            (double)m->ssr->weight_count / 1e6, frames, estimate.width, estimate.height, estimate.seconds,
            (double)estimate.bytes / 1e6);
}

static void check_model(doctor *d, const char *folder) {
    lumiere_model *m = NULL;
    lumiere_estimate estimate;
    if (lumiere_model_open(d->c, folder, &m) != LUMIERE_OK) {
        say(d, d->c->error.status, "model: %s", d->c->error.text);
        return;
    }
    say(d, LM_OK, "model: %s %s, %s, %.1f million weights, hash %s", lumiere_model_name(m),
        lm_model_folder_version(m->folder), lm_model_folder_licence(m->folder), (double)m->weight_count / 1e6, m->hash);
    const lumiere_generate_options o = {.prompt = "a rocket"};
    if (lumiere_estimate_generate(d->c, m, &o, &estimate) != LUMIERE_OK)
        say(d, d->c->error.status, "model: %s", d->c->error.text);
    else
        say(d, LM_OK, "model: %d frames at %dx%d, %d steps: about %.0f s and %.0f MB", estimate.frames, estimate.width,
            estimate.height, estimate.steps, estimate.seconds, (double)estimate.bytes / 1e6);
    if (m->ssr) check_upscaler(d, m);
    lumiere_model_free(&m);
}

lumiere_status lumiere_doctor(lumiere_context *c, const char *model,
                              void (*line)(void *user, bool ok, const char *text), void *user) {
    lm_error e = {0};
    doctor d = {.c = c, .line = line, .user = user};
    lm_status status = api_device(&e, c);
    if (status != LM_OK) return api_done(c, status, &e);
    say(&d, LM_OK, "lumiere %s on %s", LUMIERE_VERSION, c->device->summary);
    say(&d, LM_OK, "precision: %s", c->precision);
    check_arithmetic(&d, LM_F32, 1e-9);
    check_arithmetic(&d, LM_BF16, 5e-5);
    check_memory(&d);
    check_media(&d);
    if (model) check_model(&d, model);
    if (d.failures)
        status = lm_fail(&e, d.first, "%d check%s failed, see above", d.failures, d.failures == 1 ? "" : "s");
    return api_done(c, status, &e);
}
