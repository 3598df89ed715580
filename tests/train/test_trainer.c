// Training a tiny network: resuming, stopping, what stays frozen, what is skipped, what is refused.
#include "base/files.h"
#include "base/memory.h"
#include "store/safetensors.h"
#include "tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

typedef struct watch {
    int64_t stop_after, last;
    int skips, lines;
} watch;

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
    w->skips += strstr(line, "skipped") != NULL;
}

// Trains into folder out with further settings; resume and stop_after as given.
static lm_status train(lm_error *e, const char *out, const char *const *set, lm_dtype precision, bool resume,
                       watch *w) {
    const char *all[12];
    char *target = lm_format("out=%s/%s", run.folder, out);
    int n = 0;
    all[n++] = target;
    for (int i = 0; set && set[i]; i++) all[n++] = set[i];
    all[n] = NULL;
    lm_trainer_options o = {.precision = precision, .resume = resume, .log = on_line, .progress = on_step, .user = w};
    lm_status s = tiny_run_train(e, &run, all, &o);
    lm_free(target);
    return s;
}

static void train_whole(const char *out, const char *const *set, lm_dtype precision, watch *w) {
    lm_error e = {0};
    *w = (watch){0};
    if (train(&e, out, set, precision, false, w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w->last, TINY_STEPS);
}

static char *in_run(const char *out, const char *name) {
    char *path = lm_format("%s/%s/%s", run.folder, out, name);
    assert_non_null(path);
    return path;
}

// Once through, and stopped after 5 steps and gone on with.
static void check_resume(const char *whole, const char *parts, const char *const *set, lm_dtype precision) {
    lm_error e = {0};
    watch w = {0};
    train_whole(whole, set, precision, &w);
    w = (watch){.stop_after = 5};
    assert_int_equal(train(&e, parts, set, precision, false, &w), LM_CANCELLED);
    assert_int_equal(e.status, LM_CANCELLED);
    assert_non_null(strstr(e.text, "step 5"));
    assert_int_equal(w.last, 5);
    static const char *const left[] = {"checkpoint.safetensors", "model.safetensors", "config.json", "metrics.csv"};
    for (int i = 0; i < 4; i++) {
        char *path = in_run(parts, left[i]);
        assert_int_equal(access(path, R_OK), 0);
        lm_free(path);
    }
    lm_error_clear(&e);
    w = (watch){0};
    if (train(&e, parts, set, precision, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w.last, TINY_STEPS);
    tiny_run_expect_same(&run, whole, parts);
}

static void test_resume_image(void **state) {
    (void)state;
    check_resume("image", "image-2", NULL, LM_F32);
    check_resume("image-bf16", "image-bf16-2", NULL, LM_BF16);
}

static lm_safetensors *open_file(const char *out, const char *name) {
    lm_error e = {0};
    lm_safetensors *f = NULL;
    char *path = in_run(out, name);
    if (lm_safetensors_open(&e, path, &f) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return f;
}

static float *floats_of(const lm_safetensors *f, const lm_stored *t, int64_t *count) {
    lm_error e = {0};
    *count = 1;
    for (int i = 0; i < t->rank; i++) *count *= t->dim[i];
    float *out = lm_alloc((size_t)*count, sizeof *out);
    assert_int_equal(lm_safetensors_floats(&e, f, t, out), LM_OK);
    return out;
}

// In a checkpoint of the video stage: frozen weights and their average as in init, the inflation's moved.
static void check_frozen(const char *init, const char *video) {
    lm_safetensors *a = open_file(init, "model.safetensors"), *b = open_file(video, "checkpoint.safetensors");
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
    lm_safetensors *a = open_file(before, "checkpoint.safetensors"), *b = open_file(after, "checkpoint.safetensors");
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
    assert_int_equal(train(&e, "video-1", set, LM_F32, false, &w), LM_CANCELLED);
    check_moved("video-1", "video");
    lm_free(init);
}

// Steps of metrics.csv, which must follow each other by 1; the number of rows with a validation loss.
static int read_metrics(const char *out, int *validations) {
    lm_error e = {0};
    uint8_t *bytes;
    size_t size;
    char *path = in_run(out, "metrics.csv");
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
    assert_int_equal(train(&e, "cut", NULL, LM_F32, false, &w), LM_CANCELLED);
    assert_int_equal(read_metrics("cut", &validations), 3);
    char *path = in_run("cut", "metrics.csv");
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs("4,8,1.0,0.5,0.001,1.0,0.7,0\n5,10,1.0,0.5,0.001,1.0,,0\n6,1", f);
    assert_int_equal(fclose(f), 0);
    lm_error_clear(&e);
    w = (watch){0};
    if (train(&e, "cut", NULL, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(read_metrics("cut", &validations), TINY_STEPS);
    assert_int_equal(validations, 3); // at 4, 8 and 12
    assert_int_equal(unlink(path), 0);
    lm_free(path);
    path = in_run("cut", "sample-0000012.png");
    assert_int_equal(access(path, R_OK), 0);
    lm_free(path);
}

// A kill between the last checkpoint and the averaged weights: resuming writes these.
static void test_resume_finished(void **state) {
    (void)state;
    lm_error e = {0};
    watch w;
    train_whole("done", NULL, LM_F32, &w);
    char *path = in_run("done", "model.safetensors");
    assert_int_equal(unlink(path), 0);
    if (train(&e, "done", NULL, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(access(path, R_OK), 0);
    tiny_run_expect_same(&run, "image", "done");
    lm_free(path);
}

// A rate far too high: losses rise far above the mean.
static void test_outliers(void **state) {
    (void)state;
    static const char *const set[] = {"outlier=1.5", "warmup=2", "learning_rate=10", "sample_every=0", NULL};
    watch w;
    train_whole("outliers", set, LM_F32, &w);
    lm_safetensors *f = open_file("outliers", "checkpoint.safetensors");
    int skipped = atoi(lm_safetensors_metadata(f, "skipped"));
    print_message("%d of %d steps skipped\n", skipped, TINY_STEPS);
    assert_int_equal(skipped, w.skips);
    assert_in_range(skipped, 1, TINY_STEPS - 2);
    lm_safetensors_free(&f);
}

static void copy_file(const char *from, const char *to) {
    lm_error e = {0};
    uint8_t *bytes;
    size_t size;
    assert_int_equal(lm_file_read(&e, from, 1 << 24, LM_MEDIA, &bytes, &size), LM_OK);
    FILE *f = fopen(to, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    lm_free(bytes);
}

// The image run's weights under another name, in single precision, each times factor, without tensor `without`.
static void write_init(const char *out, int without, float factor) {
    const float largest = 65504; // half precision's
    lm_error e = {0};
    lm_safetensors *f = open_file("image", "model.safetensors");
    lm_to_store *all = lm_alloc((size_t)lm_safetensors_count(f), sizeof *all);
    int n = 0;
    for (int i = 0; i < lm_safetensors_count(f); i++) {
        const lm_stored *t = lm_safetensors_at(f, i);
        int64_t count;
        float *data = floats_of(f, t, &count);
        for (int64_t k = 0; k < count; k++) data[k] = fminf(fmaxf(data[k] * factor, -largest), largest);
        all[n] = (lm_to_store){.name = t->name, .rank = t->rank, .data = data};
        memcpy(all[n].dim, t->dim, sizeof all[n].dim);
        if (i != without)
            n++;
        else
            lm_free(data);
    }
    char *folder = tiny_path(&run, out), *path = in_run(out, "model.safetensors"), *config = in_run(out, "config.json");
    char *old = in_run("image", "config.json");
    assert_int_equal(mkdir(folder, 0777), 0);
    if (lm_safetensors_write(&e, path, all, n, NULL, NULL, 0) != LM_OK) fail_msg("%s", e.text);
    copy_file(old, config);
    for (int i = 0; i < n; i++) lm_free((float *)all[i].data);
    lm_free(all);
    lm_free(folder);
    lm_free(path);
    lm_free(config);
    lm_free(old);
    lm_safetensors_free(&f);
}

// Every step's loss is not a number: none is taken, each is said, weights and average stay.
static void test_not_a_number(void **state) {
    (void)state;
    write_init("broken", -1, 1e6f); // what flows through such a network overflows
    char *init = lm_format("init=%s/broken", run.folder);
    const char *const set[] = {init, "sample_every=0", "validate_every=0", NULL};
    watch w = {0};
    train_whole("nan", set, LM_F32, &w);
    assert_int_equal(w.skips, TINY_STEPS);
    lm_safetensors *a = open_file("broken", "model.safetensors"), *b = open_file("nan", "checkpoint.safetensors");
    assert_string_equal(lm_safetensors_metadata(b, "skipped"), "12");
    for (int i = 0; i < lm_safetensors_count(a); i++) {
        const lm_stored *x = lm_safetensors_at(a, i);
        static const char *const sets[] = {"weights", "average"};
        for (int k = 0; k < 2; k++) {
            char *name = lm_format("%s/%s", sets[k], x->name);
            const lm_stored *y = lm_safetensors_find(b, name);
            assert_non_null(y);
            assert_int_equal(x->bytes, y->bytes);
            assert_memory_equal(x->data, y->data, x->bytes);
            lm_free(name);
        }
    }
    lm_safetensors_free(&a);
    lm_safetensors_free(&b);
    lm_free(init);
}

// The image stage takes a video model's image layers and leaves the inflation out: at rate 0 they come out as they
// were.
static void test_image_from_video(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {0};
    char *init = lm_format("init=%s/video", run.folder);
    const char *set[] = {init, "learning_rate=0", NULL};
    if (train(&e, "image-from-video", set, LM_F32, false, &w) != LM_OK) fail_msg("%s", e.text);
    lm_safetensors *a = open_file("video", "model.safetensors"),
                   *b = open_file("image-from-video", "model.safetensors");
    assert_true(lm_safetensors_count(b) > 50 && lm_safetensors_count(b) < lm_safetensors_count(a));
    for (int i = 0; i < lm_safetensors_count(b); i++) {
        const lm_stored *x = lm_safetensors_at(b, i), *y = lm_safetensors_find(a, x->name);
        assert_false(lm_unet_is_inflation(x->name));
        assert_non_null(y);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    lm_safetensors_free(&a);
    lm_safetensors_free(&b);
    lm_free(init);
}

static void refuse(const char *out, const char *const *set, bool resume, lm_status status, const char *message) {
    lm_error e = {0};
    watch w = {0};
    assert_int_equal(train(&e, out, set, LM_F32, resume, &w), status);
    if (!strstr(e.text, message)) fail_msg("\"%s\" does not say \"%s\"", e.text, message);
    assert_int_equal(w.last, 0);
}

// Image layers of one run inside the inflation of another.
static void test_inflation_of_another_run(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {0};
    const char *other[] = {"seed=9", NULL};
    if (train(&e, "other-image", other, LM_F32, false, &w) != LM_OK) fail_msg("%s", e.text);
    char *init = lm_format("init=%s/other-image", run.folder), *video = lm_format("inflation=%s/video", run.folder);
    const char *set[] = {"stage=video", init, video, "learning_rate=0", NULL};
    if (train(&e, "joined", set, LM_F32, false, &w) != LM_OK) fail_msg("%s", e.text);
    lm_safetensors *image = open_file("other-image", "model.safetensors"),
                   *inflated = open_file("video", "model.safetensors"), *b = open_file("joined", "model.safetensors");
    int differing = 0;
    for (int i = 0; i < lm_safetensors_count(b); i++) {
        const lm_stored *x = lm_safetensors_at(b, i), *v = lm_safetensors_find(inflated, x->name);
        const lm_stored *from = lm_unet_is_inflation(x->name) ? v : lm_safetensors_find(image, x->name);
        assert_memory_equal(x->data, from->data, x->bytes);
        differing += from != v && memcmp(from->data, v->data, x->bytes) != 0;
    }
    assert_true(differing > 20);
    refuse("x1", (const char *[]){init, video, NULL}, false, LM_USAGE, "inflation is of the video stage");
    lm_free(video);
    video = lm_format("inflation=%s/other-image", run.folder);
    refuse("x1", (const char *[]){"stage=video", init, video, NULL}, false, LM_MODEL, "name the folder of a video");
    lm_safetensors_free(&image);
    lm_safetensors_free(&inflated);
    lm_safetensors_free(&b);
    lm_free(init);
    lm_free(video);
}

static void test_wrong_init(void **state) {
    (void)state;
    write_init("lacking", 3, 1);
    char *lacking = lm_format("init=%s/lacking", run.folder), *image = lm_format("init=%s/image", run.folder);
    char *nowhere = lm_format("init=%s/nowhere", run.folder);
    refuse("x1", (const char *[]){lacking, NULL}, false, LM_MODEL, "has no tensor ");
    refuse("x1", (const char *[]){"stage=video", lacking, NULL}, false, LM_MODEL, "has no tensor ");
    refuse("x1", (const char *[]){nowhere, NULL}, false, LM_MODEL, "nowhere/config.json");
    char *weights = in_run("lacking", "model.safetensors"), *shorter = in_run("lacking", "config.json");
    char *other = tiny_path(&run, "net.json"), *text = lm_format("text=%s/data", run.folder);
    copy_file(other, shorter);
    assert_int_equal(truncate(weights, 300), 0);
    refuse("x1", (const char *[]){lacking, NULL}, false, LM_MODEL, "lacking/model.safetensors");
    refuse("x1", (const char *[]){image, text, NULL}, false, LM_MODEL, "data/config.json");
    lm_free(lacking);
    lm_free(image);
    lm_free(nowhere);
    lm_free(weights);
    lm_free(shorter);
    lm_free(other);
    lm_free(text);
}

// Weights of another shape: the configuration beside them says more channels.
static void test_wrong_shape(void **state) {
    (void)state;
    write_init("shape", -1, 1);
    lm_error e = {0};
    lm_unet_config c;
    char *config = in_run("shape", "config.json"), *init = lm_format("init=%s/shape", run.folder);
    assert_int_equal(lm_unet_config_read(&e, config, &c), LM_OK);
    c.channels[1] = 24;
    char *json = lm_unet_config_json(&c);
    FILE *f = fopen(config, "w");
    assert_non_null(f);
    fputs(json, f);
    assert_int_equal(fclose(f), 0);
    refuse("x2", (const char *[]){init, NULL}, false, LM_MODEL, "shape/model.safetensors");
    lm_free(json);
    lm_free(config);
    lm_free(init);
}

static void test_refused(void **state) {
    (void)state;
    char *init = lm_format("init=%s/image", run.folder);
    char *file = lm_format("out=%s/run.yaml/x", run.folder), *data = lm_format("data=%s/text", run.folder);
    refuse("x3", NULL, true, LM_MODEL, "start the run without --resume");
    refuse("image", NULL, false, LM_USAGE, "holds a checkpoint already");
    refuse("image", (const char *[]){"stage=video", init, NULL}, true, LM_MODEL, "belongs to another stage");
    refuse("x3", (const char *[]){file, NULL}, false, LM_MEDIA, "can't make the folder");
    refuse("x3", (const char *[]){data, NULL}, false, LM_MEDIA, "");
    refuse("x3", (const char *[]){"size=12", NULL}, false, LM_USAGE, "size 12");
    refuse("x3", (const char *[]){"stage=video", init, "frames=5", NULL}, false, LM_USAGE, "takes multiples of 2");
    lm_free(init);
    lm_free(file);
    lm_free(data);
}

// A checkpoint whose metadata was tampered with, or that is cut off.
static void test_damaged_checkpoint(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {.stop_after = 2};
    assert_int_equal(train(&e, "damaged", NULL, LM_F32, false, &w), LM_CANCELLED);
    char *path = in_run("damaged", "checkpoint.safetensors");
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
    refuse("damaged", NULL, true, LM_MODEL, "is damaged");
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    refuse("damaged", NULL, true, LM_MODEL, "damaged/checkpoint.safetensors");
    lm_free(bytes);
    lm_free(path);
}

// Warm-up longer than the run, cooldown from the start or none, more clips than there are sprites, one frame.
static void test_unusual(void **state) {
    (void)state;
    static const char *const longer[] = {"warmup=50", "cooldown=1", "batch=9", "validation_clips=1", NULL};
    watch w;
    train_whole("unusual", longer, LM_F32, &w);
    static const char *const none[] = {
        "cooldown=0", "checkpoint_steps=0", "log_every=100", "validate_every=0", "caption_dropout=1", "motion_share=1",
        NULL};
    train_whole("unusual-2", none, LM_F32, &w);
    char *init = lm_format("init=%s/image", run.folder);
    const char *const one[] = {"stage=video", init, "frames=80", "batch=1", "sample_every=0", NULL};
    train_whole("unusual-3", one, LM_F32, &w);
    lm_free(init);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume_image),     cmocka_unit_test(test_resume_video),
        cmocka_unit_test(test_metrics),          cmocka_unit_test(test_resume_finished),
        cmocka_unit_test(test_outliers),         cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_image_from_video), cmocka_unit_test(test_inflation_of_another_run),
        cmocka_unit_test(test_wrong_init),       cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_damaged_checkpoint),
        cmocka_unit_test(test_unusual),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
