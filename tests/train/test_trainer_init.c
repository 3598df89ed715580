// What a training starts from: weights of another stage or run, broken ones, and what is refused.
#include "watched_run.h"

#include "base/files.h"
#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static tiny_run run;

// An image run, and a video run from it.
static int make(void **state) {
    (void)state;
    watch w;
    tiny_run_make(&run);
    watched_train_whole(&run, "image", NULL, LM_F32, &w);
    char *init = lm_format("init=%s/image", run.folder);
    watched_train_whole(&run, "video", (const char *const[]){"stage=video", init, NULL}, LM_F32, &w);
    lm_free(init);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_run_remove(&run);
    return 0;
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
    lm_safetensors *f = tiny_tensors(&run, "image", "model.safetensors");
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
    char *folder = tiny_path(&run, out), *path = tiny_file(&run, out, "model.safetensors"),
         *config = tiny_file(&run, out, "config.json");
    char *old = tiny_file(&run, "image", "config.json");
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

static bool not_stopped(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    (void)steps, (void)seconds_left;
    *(int64_t *)user = step;
    assert_false(isfinite(loss));
    return true;
}

// Every step's loss is not a number, in a run too short for 20 in a row: it fails all the same and saves nothing.
static void test_not_a_number(void **state) {
    (void)state;
    write_init("broken", -1, 1e6f); // what flows through such a network overflows
    char *init = lm_format("init=%s/broken", run.folder), *out = lm_format("out=%s/nan", run.folder);
    const char *const set[] = {init, out, "sample_every=0", "validate_every=0", NULL};
    lm_error e = {0};
    int64_t last = 0;
    const lm_trainer_options o = {.precision = LM_F32, .progress = not_stopped, .user = &last};
    assert_int_equal(tiny_run_train(&e, &run, set, &o), LM_FAILED);
    assert_int_equal(last, TINY_STEPS);
    if (!strstr(e.text, "all 12 steps were skipped") || !strstr(e.text, "learning_rate")) fail_msg("%s", e.text);
    static const char *const files[] = {"checkpoint.safetensors", "model.safetensors", "train.lock"};
    for (int i = 0; i < 3; i++) {
        char *path = tiny_file(&run, "nan", files[i]);
        assert_int_equal(access(path, F_OK), -1);
        lm_free(path);
    }
    lm_free(init);
    lm_free(out);
}

// The image stage takes a video model's image layers and leaves the inflation out: at rate 0 they come out as they
// were.
static void test_image_from_video(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {0};
    char *init = lm_format("init=%s/video", run.folder);
    const char *set[] = {init, "learning_rate=0", NULL};
    if (watched_train(&e, &run, "image-from-video", set, LM_F32, false, &w) != LM_OK) fail_msg("%s", e.text);
    lm_safetensors *a = tiny_tensors(&run, "video", "model.safetensors"),
                   *b = tiny_tensors(&run, "image-from-video", "model.safetensors");
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

// Image layers of one run inside the inflation of another.
static void test_inflation_of_another_run(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {0};
    const char *other[] = {"seed=9", NULL};
    if (watched_train(&e, &run, "other-image", other, LM_F32, false, &w) != LM_OK) fail_msg("%s", e.text);
    char *init = lm_format("init=%s/other-image", run.folder), *video = lm_format("inflation=%s/video", run.folder);
    const char *set[] = {"stage=video", init, video, "learning_rate=0", NULL};
    if (watched_train(&e, &run, "joined", set, LM_F32, false, &w) != LM_OK) fail_msg("%s", e.text);
    lm_safetensors *image = tiny_tensors(&run, "other-image", "model.safetensors"),
                   *inflated = tiny_tensors(&run, "video", "model.safetensors"),
                   *b = tiny_tensors(&run, "joined", "model.safetensors");
    int differing = 0;
    for (int i = 0; i < lm_safetensors_count(b); i++) {
        const lm_stored *x = lm_safetensors_at(b, i), *v = lm_safetensors_find(inflated, x->name);
        const lm_stored *from = lm_unet_is_inflation(x->name) ? v : lm_safetensors_find(image, x->name);
        assert_memory_equal(x->data, from->data, x->bytes);
        differing += from != v && memcmp(from->data, v->data, x->bytes) != 0;
    }
    assert_true(differing > 20);
    watched_refuse(&run, "x1", (const char *[]){init, video, NULL}, false, LM_USAGE, "inflation is of the video stage");
    lm_free(video);
    video = lm_format("inflation=%s/other-image", run.folder);
    watched_refuse(&run, "x1", (const char *[]){"stage=video", init, video, NULL}, false, LM_MODEL,
                   "name the folder of a video");
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
    watched_refuse(&run, "x1", (const char *[]){lacking, NULL}, false, LM_MODEL, "has no tensor ");
    watched_refuse(&run, "x1", (const char *[]){"stage=video", lacking, NULL}, false, LM_MODEL, "has no tensor ");
    watched_refuse(&run, "x1", (const char *[]){nowhere, NULL}, false, LM_MODEL, "nowhere/config.json");
    char *weights = tiny_file(&run, "lacking", "model.safetensors"),
         *shorter = tiny_file(&run, "lacking", "config.json");
    char *other = tiny_path(&run, "net.json"), *text = lm_format("text=%s/data", run.folder);
    copy_file(other, shorter);
    assert_int_equal(truncate(weights, 300), 0);
    watched_refuse(&run, "x1", (const char *[]){lacking, NULL}, false, LM_MODEL, "lacking/model.safetensors");
    watched_refuse(&run, "x1", (const char *[]){image, text, NULL}, false, LM_MODEL, "data/config.json");
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
    char *config = tiny_file(&run, "shape", "config.json"), *init = lm_format("init=%s/shape", run.folder);
    assert_int_equal(lm_unet_config_read(&e, config, &c), LM_OK);
    c.channels[1] = 24;
    char *json = lm_unet_config_json(&c);
    FILE *f = fopen(config, "w");
    assert_non_null(f);
    fputs(json, f);
    assert_int_equal(fclose(f), 0);
    watched_refuse(&run, "x2", (const char *[]){init, NULL}, false, LM_MODEL, "shape/model.safetensors");
    lm_free(json);
    lm_free(config);
    lm_free(init);
}

static void test_refused(void **state) {
    (void)state;
    char *init = lm_format("init=%s/image", run.folder);
    char *file = lm_format("out=%s/run.yaml/x", run.folder), *data = lm_format("data=%s/text", run.folder);
    watched_refuse(&run, "x3", NULL, true, LM_MODEL, "start the run without --resume");
    watched_refuse(&run, "image", NULL, false, LM_USAGE, "holds a checkpoint already");
    watched_refuse(&run, "image", (const char *[]){"stage=video", init, NULL}, true, LM_MODEL,
                   "belongs to another stage");
    watched_refuse(&run, "x3", (const char *[]){file, NULL}, false, LM_MEDIA, "can't make the folder");
    watched_refuse(&run, "x3", (const char *[]){data, NULL}, false, LM_MEDIA, "");
    watched_refuse(&run, "x3", (const char *[]){"size=12", NULL}, false, LM_USAGE, "size 12");
    watched_refuse(&run, "x3", (const char *[]){"stage=video", init, "frames=5", NULL}, false, LM_USAGE,
                   "takes multiples of 2");
    lm_free(init);
    lm_free(file);
    lm_free(data);
}

// Loss of the first row of metrics.csv.
static double first_loss(const char *out) {
    char *path = tiny_file(&run, out, "metrics.csv"), line[400];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    lm_free(path);
    double loss;
    assert_int_equal(sscanf(line, "%*d,%*d,%*f,%lf", &loss), 1);
    return loss;
}

static double largest_of(const char *out, const char *name) {
    lm_safetensors *f = tiny_tensors(&run, out, "checkpoint.safetensors");
    const lm_stored *t = lm_safetensors_find(f, name);
    if (!t) fail_msg("%s has no %s", out, name);
    int64_t n;
    float *data = floats_of(f, t, &n), most = 0;
    for (int64_t i = 0; i < n; i++) most = fmaxf(most, fabsf(data[i]));
    lm_free(data);
    lm_safetensors_free(&f);
    return (double)most;
}

// An image network gets the moments' input born so that nothing changes, learns by it, and takes it into the video
// stage, where it is frozen.
static void test_moments(void **state) {
    (void)state;
    char *init = lm_format("init=%s/image", run.folder), *told = lm_format("init=%s/told", run.folder);
    watch w;
    const char *const plain[] = {init, "motion_share=1", NULL};
    const char *const with[] = {init, "motion_share=1", "motion_caption_share=0", "moment_share=0.5", NULL};
    watched_train_whole(&run, "untold", plain, LM_F32, &w);
    watched_train_whole(&run, "told", with, LM_F32, &w);
    assert_true(first_loss("told") == first_loss("untold"));
    assert_true(largest_of("told", "weights/moment_mlp.2.weight") > 0);
    watched_train_whole(&run, "told-video", (const char *const[]){"stage=video", told, NULL}, LM_F32, &w);
    assert_true(fabs(largest_of("told-video", "weights/moment_mlp.2.weight") -
                     largest_of("told", "average/moment_mlp.2.weight")) < 1e-5);
    watched_refuse(&run, "no-moments", (const char *const[]){"stage=video", init, "moment_share=2", NULL}, false,
                   LM_USAGE, "moment_share");
    lm_free(init);
    lm_free(told);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_image_from_video),
        cmocka_unit_test(test_inflation_of_another_run),
        cmocka_unit_test(test_wrong_init),
        cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_moments),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
