// Training a tiny network: resuming, stopping, what stays frozen, what is skipped, what is recorded.
#include "watched_run.h"

#include "base/files.h"
#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static tiny_run run;

static int make(void **state) {
    (void)state;
    tiny_run_make(&run);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_run_remove(&run);
    return 0;
}

// Once through, and stopped after 5 steps and gone on with.
static void check_resume(const char *whole, const char *parts, const char *const *set, lm_dtype precision) {
    lm_error e = {0};
    watch w = {0};
    watched_train_whole(&run, whole, set, precision, &w);
    w = (watch){.stop_after = 5};
    assert_int_equal(watched_train(&e, &run, parts, set, precision, false, &w), LM_CANCELLED);
    assert_int_equal(e.status, LM_CANCELLED);
    assert_non_null(strstr(e.text, "step 5"));
    assert_int_equal(w.last, 5);
    static const char *const left[] = {"checkpoint.safetensors", "model.safetensors", "config.json", "metrics.csv"};
    for (int i = 0; i < 4; i++) {
        char *path = tiny_file(&run, parts, left[i]);
        assert_int_equal(access(path, R_OK), 0);
        lm_free(path);
    }
    lm_error_clear(&e);
    w = (watch){0};
    if (watched_train(&e, &run, parts, set, precision, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w.last, TINY_STEPS);
    tiny_run_expect_same(&run, whole, parts);
}

static void test_resume_image(void **state) {
    (void)state;
    check_resume("image", "image-2", NULL, LM_F32);
    check_resume("image-bf16", "image-bf16-2", NULL, LM_BF16);
}

// In a checkpoint of the video stage: frozen weights and their average as in init, the inflation's moved.
static void check_frozen(const char *init, const char *video) {
    lm_safetensors *a = tiny_tensors(&run, init, "model.safetensors"),
                   *b = tiny_tensors(&run, video, "checkpoint.safetensors");
    int frozen = 0, trained = 0;
    for (int i = 0; i < lm_safetensors_count(b); i++) {
        const lm_stored *t = lm_safetensors_at(b, i);
        const char *name = strchr(t->name, '/') + 1;
        bool is_weight = !strncmp(t->name, "weights/", 8), is_average = !strncmp(t->name, "average/", 8);
        if (lm_unet_is_inflation(name)) {
            trained += is_weight;
            continue;
        }
        assert_true(is_weight || is_average); // no moments
        const lm_stored *from = lm_safetensors_find(a, name);
        assert_non_null(from);
        int64_t n, m;
        float *want = floats_of(a, from, &n), *got = floats_of(b, t, &m);
        assert_int_equal(n, m);
        assert_memory_equal(want, got, (size_t)n * sizeof *want);
        lm_free(want);
        lm_free(got);
        frozen++;
    }
    assert_int_equal(frozen, 2 * lm_safetensors_count(a));
    assert_true(trained >= 10);
    lm_safetensors_free(&a);
    lm_safetensors_free(&b);
}

// Every tensor of set ("weights/") that the inflation adds differs between two checkpoints.
static void check_moved(const char *before, const char *after) {
    lm_safetensors *a = tiny_tensors(&run, before, "checkpoint.safetensors"),
                   *b = tiny_tensors(&run, after, "checkpoint.safetensors");
    for (int i = 0; i < lm_safetensors_count(a); i++) {
        const lm_stored *x = lm_safetensors_at(a, i), *y = lm_safetensors_find(b, x->name);
        if (strncmp(x->name, "weights/", 8) != 0 || !lm_unet_is_inflation(x->name + 8)) continue;
        assert_non_null(y);
        if (!memcmp(x->data, y->data, x->bytes)) fail_msg("%s did not move", x->name);
    }
    lm_safetensors_free(&a);
    lm_safetensors_free(&b);
}

static void test_resume_video(void **state) {
    (void)state;
    char *init = lm_format("init=%s/image", run.folder);
    const char *const set[] = {"stage=video", init, NULL};
    check_resume("video", "video-2", set, LM_F32);
    check_resume("video-bf16", "video-bf16-2", set, LM_BF16);
    check_frozen("image", "video");
    lm_error e = {0};
    watch w = {.stop_after = 1};
    assert_int_equal(watched_train(&e, &run, "video-1", set, LM_F32, false, &w), LM_CANCELLED);
    check_moved("video-1", "video");
    lm_free(init);
}

// Steps of metrics.csv, which must follow each other by 1; the number of rows with a validation loss.
static int read_metrics(const char *out, int *validations) {
    lm_error e = {0};
    uint8_t *bytes;
    size_t size;
    char *path = tiny_file(&run, out, "metrics.csv");
    assert_int_equal(lm_file_read(&e, path, 1 << 20, LM_MEDIA, &bytes, &size), LM_OK);
    char *line = strchr((char *)bytes, '\n');
    assert_int_equal(strncmp((char *)bytes, "step,samples,seconds,loss,", 26), 0);
    int rows = 0;
    *validations = 0;
    while (*++line) {
        int step, samples, skipped;
        double seconds, loss, rate, norm;
        char validation[32] = "";
        int n =
            sscanf(line, "%d,%d,%lf,%lf,%lf,%lf,%31[0-9.]", &step, &samples, &seconds, &loss, &rate, &norm, validation);
        assert_true(n >= 6);
        const char *last = strchr(line, '\n');
        assert_non_null(last);
        assert_int_equal(sscanf(last - 2, ",%d", &skipped), 1);
        assert_int_equal(step, ++rows);
        assert_int_equal(samples, 2 * step);
        assert_true(isfinite(loss) && norm >= 0 && rate >= 0);
        *validations += n == 7;
        line = (char *)last;
    }
    lm_free(bytes);
    lm_free(path);
    return rows;
}

// A run killed after step 5: the checkpoint is of step 3, rows 4 and 5 and half a row are in metrics.csv.
static void test_metrics(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {.stop_after = 3};
    int validations;
    assert_int_equal(watched_train(&e, &run, "cut", NULL, LM_F32, false, &w), LM_CANCELLED);
    assert_int_equal(read_metrics("cut", &validations), 3);
    char *path = tiny_file(&run, "cut", "metrics.csv");
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("4,8,1.0,0.5,0.001,1.0,0.7,0\n5,10,1.0,0.5,0.001,1.0,,0\n6,1", f);
    assert_int_equal(fclose(f), 0);
    lm_error_clear(&e);
    w = (watch){0};
    if (watched_train(&e, &run, "cut", NULL, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(read_metrics("cut", &validations), TINY_STEPS);
    assert_int_equal(validations, 3); // at 4, 8 and 12
    assert_int_equal(unlink(path), 0);
    lm_free(path);
    path = tiny_file(&run, "cut", "sample-0000012.png");
    assert_int_equal(access(path, R_OK), 0);
    lm_free(path);
}

// A kill between the last checkpoint and the averaged weights: resuming writes these.
static void test_resume_finished(void **state) {
    (void)state;
    lm_error e = {0};
    watch w;
    watched_train_whole(&run, "done", NULL, LM_F32, &w);
    char *path = tiny_file(&run, "done", "model.safetensors");
    assert_int_equal(unlink(path), 0);
    if (watched_train(&e, &run, "done", NULL, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(access(path, R_OK), 0);
    tiny_run_expect_same(&run, "image", "done");
    lm_free(path);
}

// A rate far too high: losses rise far above the mean.
static void test_outliers(void **state) {
    (void)state;
    static const char *const set[] = {"outlier=1.5", "warmup=2", "learning_rate=10", "sample_every=0", NULL};
    watch w;
    watched_train_whole(&run, "outliers", set, LM_F32, &w);
    lm_safetensors *f = tiny_tensors(&run, "outliers", "checkpoint.safetensors");
    int skipped = atoi(lm_safetensors_metadata(f, "skipped"));
    print_message("%d of %d steps skipped\n", skipped, TINY_STEPS);
    assert_int_equal(skipped, w.skips);
    assert_in_range(skipped, 1, TINY_STEPS - 2);
    lm_safetensors_free(&f);
}

// A checkpoint whose metadata was tampered with, or that is cut off.
static void test_damaged_checkpoint(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {.stop_after = 2};
    assert_int_equal(watched_train(&e, &run, "damaged", NULL, LM_F32, false, &w), LM_CANCELLED);
    char *path = tiny_file(&run, "damaged", "checkpoint.safetensors");
    uint8_t *bytes;
    size_t size;
    assert_int_equal(lm_file_read(NULL, path, 1 << 24, LM_MEDIA, &bytes, &size), LM_OK);
    char *at = memmem(bytes, size, "\"step\":\"2\"", 10);
    assert_non_null(at);
    at[8] = 'x';
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    watched_refuse(&run, "damaged", NULL, true, LM_MODEL, "is damaged");
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    watched_refuse(&run, "damaged", NULL, true, LM_MODEL, "damaged/checkpoint.safetensors");
    lm_free(bytes);
    lm_free(path);
}

// Warm-up longer than the run, cooldown from the start or none, more clips than there are sprites, one frame.
static void test_unusual(void **state) {
    (void)state;
    static const char *const longer[] = {"warmup=50", "cooldown=1", "batch=9", "validation_clips=1", NULL};
    watch w;
    watched_train_whole(&run, "unusual", longer, LM_F32, &w);
    static const char *const none[] = {
        "cooldown=0", "checkpoint_steps=0", "log_every=100", "validate_every=0", "caption_dropout=1", "motion_share=1",
        NULL};
    watched_train_whole(&run, "unusual-2", none, LM_F32, &w);
    char *init = lm_format("init=%s/image", run.folder);
    const char *const one[] = {"stage=video", init, "frames=80", "batch=1", "sample_every=0", NULL};
    watched_train_whole(&run, "unusual-3", one, LM_F32, &w);
    lm_free(init);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume_image), cmocka_unit_test(test_resume_video),
        cmocka_unit_test(test_metrics),      cmocka_unit_test(test_resume_finished),
        cmocka_unit_test(test_outliers),     cmocka_unit_test(test_damaged_checkpoint),
        cmocka_unit_test(test_unusual),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
