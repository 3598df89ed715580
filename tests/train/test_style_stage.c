// The stage style: trains the image layers alone, from an image network or its inflation; resumes to the same bytes;
// leaves a style file that gives back what was trained; works from one picture on.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tiny_run.h"

#include "base/files.h"
#include "base/memory.h"
#include "store/style_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static tiny_run run;
static char logged[4096];

static void on_line(void *user, const char *line) {
    (void)user;
    size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", line);
}

static bool on_step(void *user, int64_t step, int64_t steps, double loss, double seconds) {
    (void)steps, (void)loss, (void)seconds;
    const int *stop_after = user;
    return !stop_after || step < *stop_after;
}

static lm_status train(lm_error *e, const char *const *set, bool resume, int *stop_after) {
    lm_trainer_options o = {
        .precision = LM_F32, .resume = resume, .log = on_line, .progress = on_step, .user = stop_after};
    *logged = 0;
    return tiny_run_train(e, &run, set, &o);
}

static void train_whole(const char *const *set) {
    lm_error e = {0};
    if (train(&e, set, false, NULL) != LM_OK) fail_msg("%s", e.text);
}

// An image network and its inflation, whose image weights are the same.
static char *init_image, *init_video;

static int make(void **state) {
    (void)state;
    tiny_run_make(&run);
    char *image = lm_format("out=%s/image", run.folder), *video = lm_format("out=%s/video", run.folder);
    init_image = lm_format("init=%s/image", run.folder);
    init_video = lm_format("init=%s/video", run.folder);
    train_whole((const char *const[]){"steps=2", "sample_every=0", image, NULL});
    train_whole((const char *const[]){"stage=video", "steps=1", "sample_every=0", init_image, video, NULL});
    lm_free(image);
    lm_free(video);
    return 0;
}

static int clean(void **state) {
    (void)state;
    lm_free(init_image);
    lm_free(init_video);
    tiny_run_remove(&run);
    return 0;
}

static lm_safetensors *open_file(const char *name) {
    lm_error e = {0};
    lm_safetensors *f = NULL;
    char *path = tiny_path(&run, name);
    if (lm_safetensors_open(&e, path, &f) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return f;
}

static lm_style *open_style(const char *name) {
    lm_error e = {0};
    lm_style *s = NULL;
    char *path = tiny_path(&run, name);
    if (lm_style_open(&e, path, &s) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return s;
}

static char *out_of(const char *name) {
    char *text = lm_format("out=%s/%s", run.folder, name);
    assert_non_null(text);
    return text;
}

static void image_layers_alone_are_trained(void **state) {
    (void)state;
    char *out = out_of("styled"), *from_image = out_of("styled-image");
    train_whole((const char *const[]){"stage=style", "style_name=ink", "style_rank=0", "style_licence=MIT", init_video,
                                      out, NULL});
    assert_non_null(strstr(logged, "style ink: "));
    lm_safetensors *f = open_file("styled/checkpoint.safetensors"), *before = open_file("image/model.safetensors");
    int moments = 0;
    for (int i = 0; i < lm_safetensors_count(f); i++) {
        const char *name = lm_safetensors_at(f, i)->name;
        if (lm_unet_is_inflation(strchr(name, '/') + 1)) fail_msg("the stage style trains %s", name);
        moments += !strncmp(name, "moment1/", 8);
    }
    assert_int_equal(moments, lm_safetensors_count(before)); // all of them are trained
    // the inflation's image layers are the image network's: the same run from either
    train_whole((const char *const[]){"stage=style", "style_name=ink", "style_rank=0", "style_licence=MIT", init_image,
                                      from_image, NULL});
    tiny_run_expect_same(&run, "styled", "styled-image");
    lm_style *a = open_style("styled/ink.safetensors"), *b = open_style("styled-image/ink.safetensors");
    assert_string_equal(lm_style_base(a), lm_style_base(b));
    assert_string_equal(lm_style_hash(a), lm_style_hash(b));
    assert_string_equal(lm_style_describe(a).licence, "MIT");
    assert_non_null(strstr(lm_style_describe(a).made_from, "3 pictures from "));
    assert_non_null(strstr(lm_style_describe(a).made_from, "12 steps of 2"));
    lm_style_free(&a);
    lm_style_free(&b);
    lm_safetensors_free(&f);
    lm_safetensors_free(&before);
    lm_free(out);
    lm_free(from_image);
}

// The trained weights, from the base's and the style file.
static void the_file_gives_back_what_was_trained(void **state) {
    (void)state;
    lm_safetensors *base = open_file("image/model.safetensors"), *trained = open_file("styled/model.safetensors");
    int n = lm_safetensors_count(base);
    lm_slot *slots = lm_alloc_zero((size_t)n, sizeof *slots);
    int64_t floats = 0;
    for (int i = 0; i < n; i++) {
        const lm_stored *t = lm_safetensors_at(base, i);
        slots[i] = (lm_slot){.name = t->name, .rank = t->rank, .offset = floats};
        memcpy(slots[i].dim, t->dim, sizeof slots[i].dim);
        floats += (int64_t)t->bytes / 2; // F16
    }
    float *made = lm_alloc((size_t)floats, sizeof *made), *want = lm_alloc((size_t)floats, sizeof *want),
          *original = lm_alloc((size_t)floats, sizeof *original);
    lm_error e = {0};
    for (int i = 0; i < n; i++) {
        const lm_stored *t = lm_safetensors_find(trained, slots[i].name);
        assert_int_equal(lm_safetensors_floats(&e, base, lm_safetensors_at(base, i), original + slots[i].offset),
                         LM_OK);
        assert_int_equal(lm_safetensors_floats(&e, trained, t, want + slots[i].offset), LM_OK);
    }
    memcpy(made, original, (size_t)floats * sizeof *made);
    lm_style *s = open_style("styled/ink.safetensors");
    char hash[LM_DIGEST_TEXT];
    assert_int_equal(lm_style_base_hash(&e, slots, n, NULL, original, hash), LM_OK);
    if (lm_style_add(&e, s, slots, n, NULL, hash, 1, made) != LM_OK) fail_msg("%s", e.text);
    double error = 0, size = 0;
    for (int64_t i = 0; i < floats; i++) {
        error += pow((double)made[i] - (double)want[i], 2);
        size += pow((double)want[i] - (double)original[i], 2);
    }
    assert_true(size > 0);
    assert_true(sqrt(error / size) < 0.06); // of 8 bits, and of the half precision of model.safetensors
    lm_style_free(&s);
    lm_free(made);
    lm_free(want);
    lm_free(original);
    lm_free(slots);
    lm_safetensors_free(&base);
    lm_safetensors_free(&trained);
}

static void a_run_resumes_to_the_same_bytes(void **state) {
    (void)state;
    lm_error e = {0};
    char *whole = out_of("whole"), *parts = out_of("parts");
    const char *set[] = {"stage=style", "style_name=ink", "style_rank=3", init_video, whole, NULL};
    train_whole(set);
    set[4] = parts;
    int stop_after = 5;
    assert_int_equal(train(&e, set, false, &stop_after), LM_CANCELLED);
    lm_error_clear(&e);
    if (train(&e, set, true, NULL) != LM_OK) fail_msg("%s", e.text);
    tiny_run_expect_same(&run, "whole", "parts");
    lm_style *a = open_style("whole/ink.safetensors"), *b = open_style("parts/ink.safetensors");
    assert_string_equal(lm_style_hash(a), lm_style_hash(b));
    lm_style_free(&a);
    lm_style_free(&b);
    lm_free(whole);
    lm_free(parts);
}

static void store(const char *name, const void *bytes, size_t size) {
    char *path = tiny_path(&run, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    lm_free(path);
}

// A picture alone, one whose name would be left out for validation among many.
static void one_picture_is_enough(void **state) {
    (void)state;
    lm_error e = {0};
    uint8_t *bytes;
    size_t size;
    char *from = tiny_path(&run, "data/1f30c.png"), *folder = tiny_path(&run, "single"), *out = out_of("one");
    assert_int_equal(lm_file_read(&e, from, 1 << 20, LM_MEDIA, &bytes, &size), LM_OK);
    char *command = lm_format("mkdir '%s'", folder), *data = lm_format("data=%s", folder);
    assert_int_equal(system(command), 0);
    store("single/1f30c.png", bytes, size);
    store("single/1f30c.txt", "a rocket\n", 9);
    store("single/README.md", "not a picture\n", 14);
    train_whole((const char *const[]){"stage=style", "style_name=one", "steps=3", "sample_every=0", data, init_video,
                                      out, NULL});
    assert_non_null(strstr(logged, "data: 1 sprites to train on (0 animated), 0 left out for validation"));
    lm_style *s = open_style("one/one.safetensors");
    assert_non_null(strstr(lm_style_describe(s).made_from, "1 picture from "));
    lm_style_free(&s);
    lm_free(bytes);
    lm_free(from);
    lm_free(folder);
    lm_free(command);
    lm_free(data);
    lm_free(out);
}

static void what_can_not_be_is_refused(void **state) {
    (void)state;
    lm_error e = {0};
    char *out = out_of("refused"), *none = lm_format("init=%s", run.folder);
    assert_int_equal(train(&e, (const char *const[]){"stage=style", out, NULL}, false, NULL), LM_USAGE);
    assert_non_null(strstr(e.text, "the style stage needs init"));
    lm_error_clear(&e);
    assert_int_equal(train(&e, (const char *const[]){"stage=style", out, none, NULL}, false, NULL), LM_MODEL);
    assert_non_null(strstr(e.text, "config.json"));
    lm_free(out);
    lm_free(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_layers_alone_are_trained),  cmocka_unit_test(the_file_gives_back_what_was_trained),
        cmocka_unit_test(a_run_resumes_to_the_same_bytes), cmocka_unit_test(one_picture_is_enough),
        cmocka_unit_test(what_can_not_be_is_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
