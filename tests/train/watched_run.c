#include "watched_run.h"

#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static bool on_step(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    watch *w = user;
    assert_int_equal(steps, TINY_STEPS);
    assert_true(isfinite(loss) && seconds_left >= 0);
    w->last = step;
    return step != w->stop_after;
}

static void on_line(void *user, const char *line) {
    watch *w = user;
    w->lines++;
    w->skips += strstr(line, " skipped: ") != NULL;
}

lm_status watched_train(lm_error *e, const tiny_run *r, const char *out, const char *const *set, lm_dtype precision,
                        bool resume, watch *w) {
    const char *all[12];
    char *target = lm_format("out=%s/%s", r->folder, out);
    int n = 0;
    all[n++] = target;
    for (int i = 0; set && set[i]; i++) all[n++] = set[i];
    all[n] = NULL;
    lm_trainer_options o = {.precision = precision, .resume = resume, .log = on_line, .progress = on_step, .user = w};
    lm_status s = tiny_run_train(e, r, all, &o);
    lm_free(target);
    return s;
}

void watched_train_whole(const tiny_run *r, const char *out, const char *const *set, lm_dtype precision, watch *w) {
    lm_error e = {0};
    *w = (watch){0};
    if (watched_train(&e, r, out, set, precision, false, w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w->last, TINY_STEPS);
}

void watched_refuse(const tiny_run *r, const char *out, const char *const *set, bool resume, lm_status status,
                    const char *message) {
    lm_error e = {0};
    watch w = {0};
    assert_int_equal(watched_train(&e, r, out, set, LM_F32, resume, &w), status);
    if (!strstr(e.text, message)) fail_msg("\"%s\" does not say \"%s\"", e.text, message);
    assert_int_equal(w.last, 0);
}

char *tiny_file(const tiny_run *r, const char *out, const char *name) {
    char *path = lm_format("%s/%s/%s", r->folder, out, name);
    assert_non_null(path);
    return path;
}

lm_safetensors *tiny_tensors(const tiny_run *r, const char *out, const char *name) {
    lm_error e = {0};
    lm_safetensors *f = NULL;
    char *path = tiny_file(r, out, name);
    if (lm_safetensors_open(&e, path, &f) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return f;
}

float *floats_of(const lm_safetensors *f, const lm_stored *t, int64_t *count) {
    lm_error e = {0};
    *count = 1;
    for (int i = 0; i < t->rank; i++) *count *= t->dim[i];
    float *out = lm_alloc((size_t)*count, sizeof *out);
    assert_int_equal(lm_safetensors_floats(&e, f, t, out), LM_OK);
    return out;
}
