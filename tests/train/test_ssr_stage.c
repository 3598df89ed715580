// The stage ssr: pairs as specified, runs that resume to the same bytes, fixed validation, what is refused.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tiny_run.h"
#include "train_data.h"

#include "base/memory.h"
#include "diffusion/cascade.h"
#include "train/low_resolution.h"
#include "train/prefetch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIDE = 64, FRAMES = 3, CROP = 32 };

static tiny_run run;

static int make(void **state) {
    (void)state;
    tiny_run_make(&run);
    lm_unet_config c = lm_unet_config_ssr();
    c.levels = 2;
    c.channels[0] = 8;
    c.channels[1] = 16;
    c.res_blocks = 1;
    c.head_dim = 8;
    c.groups = 4;
    c.text_width = 16;
    c.embed_width = 16;
    char *json = lm_unet_config_json(&c), *path = tiny_path(&run, "ssr.json");
    FILE *f = fopen(path, "w");
    if (!json || !f || fputs(json, f) < 0 || fclose(f)) return 1;
    lm_free(json);
    lm_free(path);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_run_remove(&run);
    return 0;
}

// The specification word by word: the whole clip, reduced, with noise, enlarged, cut out; what it lacks, times 8.
static void check_crop(const lm_scene *s, const lm_crop *c) {
    enum { FRAME = SIDE * SIDE * 3, CUT = CROP * CROP * 3 };
    static float whole[FRAMES * FRAME], low[FRAME / 16], large[FRAME], x0[FRAMES * CUT], cond[FRAMES * CUT],
        noise[FRAME / 16];
    // the square that is reduced: the crop and a low-resolution pixel around it, within the clip
    int top = c->y > 4 ? c->y - 4 : 0, bottom = c->y + CROP + 4 < SIDE ? c->y + CROP + 4 : SIDE;
    int left = c->x > 4 ? c->x - 4 : 0, right = c->x + CROP + 4 < SIDE ? c->x + CROP + 4 : SIDE;
    int columns = (right - left) / 4, rows = (bottom - top) / 4;
    const lm_noise_key key = {9, 3, 5};
    float *scratch = lm_alloc(lm_crop_scratch(SIDE, CROP), sizeof *scratch);
    lm_scene_render(s, FRAMES, SIDE, scratch, whole);
    lm_crop_render(s, c, FRAMES, key, 8, scratch, x0, cond);
    double alpha = cos((double)c->level * 1.5707963267948966), sigma = sin((double)c->level * 1.5707963267948966);
    for (int f = 0; f < FRAMES; f++) {
        lm_reduce(whole + f * FRAME, SIDE / 4, SIDE / 4, low);
        lm_random_normal(noise, rows * columns * 3, key.seed, LM_FOR_LOW, key.item, (uint32_t)f, key.step);
        for (int i = 0; i < rows * columns * 3; i++) {
            float *pixel = low + ((top / 4 + i / 3 / columns) * (SIDE / 4) + left / 4 + i / 3 % columns) * 3 + i % 3;
            *pixel = (float)(alpha * (double)*pixel + sigma * (double)noise[i]);
        }
        lm_enlarge(low, SIDE / 4, SIDE / 4, 0, 0, SIDE, SIDE, large);
        for (int i = 0; i < CUT; i++) {
            int at = ((c->y + i / (CROP * 3)) * SIDE + c->x) * 3 + i % (CROP * 3);
            double lacks = 8 * ((double)whole[f * FRAME + at] - (double)large[at] / alpha);
            if (!(fabs((double)(cond[f * CUT + i] - large[at])) < 2e-6))
                fail_msg("crop at %d,%d, frame %d, number %d: %g, not %g", c->x, c->y, f, i, (double)cond[f * CUT + i],
                         (double)large[at]);
            if (!(fabs((double)x0[f * CUT + i] - lacks) < 4e-5))
                fail_msg("crop at %d,%d, frame %d, number %d lacks %g, not %g", c->x, c->y, f, i,
                         (double)x0[f * CUT + i], lacks);
        }
    }
    lm_free(scratch);
}

static void pairs_are_those_of_the_specification(void **state) {
    (void)state;
    lm_sprite sprite = {0};
    make_formula_sprite(2, SIDE, &sprite);
    for (int motion = 0; motion < LM_MOTIONS; motion += 3)
        for (int y = 0; y <= SIDE - CROP; y += LM_CROP_STEP)
            for (int x = 0; x <= SIDE - CROP; x += LM_CROP_STEP) {
                const lm_scene s = {.sprite = &sprite, .motion = motion, .color = 3, .first = 7, .offset = 1};
                const lm_crop c = {.y = y, .x = x, .size = CROP, .level = x ? 0.3f : 0};
                check_crop(&s, &c);
            }
    lm_sprite_clear(&sprite);
}

static void crops_cover_the_clip(void **state) {
    (void)state;
    enum { DRAWS = 3000 };
    int at[3][3] = {{0}};
    double sum = 0, squares = 0;
    int clean = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        lm_stream s = {.seed = 1, .purpose = LM_FOR_LOW, .item = i};
        lm_crop c = lm_crop_draw(&s, SIDE, CROP);
        assert_true(c.y % 16 == 0 && c.x % 16 == 0 && c.y >= 0 && c.x >= 0 && c.y <= 32 && c.x <= 32);
        assert_true(c.level >= 0 && c.level < 0.1f);
        clean += c.level == 0;
        at[c.y / 16][c.x / 16]++;
        sum += (double)c.level;
        squares += (double)c.level * (double)c.level;
    }
    for (int i = 0; i < 9; i++) assert_in_range(at[i / 3][i % 3], DRAWS / 9 * 7 / 10, DRAWS / 9 * 13 / 10);
    assert_in_range(clean, DRAWS * 45 / 100, DRAWS * 55 / 100);
    assert_true(fabs(sum / DRAWS - 0.025) <
                0.002); // the other half uniform in [0, 0.1): mean 0.05, mean square 0.01 / 3
    assert_true(fabs(squares / DRAWS - 0.005 / 3) < 0.0002);
}

static lm_dataset *open_data(void) {
    lm_error e = {0};
    lm_dataset *d;
    char *path = tiny_path(&run, "data");
    const char *paths[] = {path};
    const lm_dataset_options o = {.paths = paths, .path_count = 1, .style = "3d", .size = SIDE, .threads = 1};
    if (lm_dataset_open(&e, &o, &d) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return d;
}

// Triple i of a validation is the same whatever the batch; everything but the place in the batch decides it.
static void triples_do_not_depend_on_the_batch(void **state) {
    (void)state;
    lm_dataset *d = open_data();
    lm_error e = {0};
    lm_train_batch whole, part, again;
    lm_batch_options o = {.split = LM_SPLIT_VALIDATION, .clips = 5, .frames = FRAMES, .crop = CROP, .seed = 8};
    o.residual_scale = 8;
    o.motion_share = o.color_share = 0.5;
    assert_int_equal(lm_train_batch_make(&e, d, &o, 0, 5, &whole), LM_OK);
    assert_int_equal(lm_train_batch_make(&e, d, &o, 0, 5, &again), LM_OK);
    o.clips = 2;
    o.first = 3;
    assert_int_equal(lm_train_batch_make(&e, d, &o, 0, 5, &part), LM_OK);
    size_t n = (size_t)FRAMES * CROP * CROP * 3;
    assert_int_equal(whole.data.size, CROP);
    assert_int_equal(whole.data.cond_channels, 3);
    assert_memory_equal(whole.data.cond, again.data.cond, 5 * n * sizeof(float));
    assert_memory_equal(whole.data.cond + 3 * n, part.data.cond, 2 * n * sizeof(float));
    assert_memory_equal(whole.xt + 3 * n, part.xt, 2 * n * sizeof(float));
    assert_memory_equal(whole.v + 3 * n, part.v, 2 * n * sizeof(float));
    assert_memory_equal(whole.data.level + 3, part.data.level, 2 * sizeof(float));
    assert_memory_equal(whole.t + 3, part.t, 2 * sizeof(float));
    bool differ = false;
    for (int i = 1; i < 5; i++) differ |= whole.data.level[i] != whole.data.level[0];
    assert_true(differ);
    lm_train_batch_free(&whole);
    lm_train_batch_free(&part);
    lm_train_batch_free(&again);
    lm_dataset_free(&d);
}

typedef struct watch {
    int64_t stop_after, last;
    double loss;
} watch;

static bool on_step(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    watch *w = user;
    (void)steps, (void)seconds_left;
    w->last = step;
    w->loss = loss;
    return step != w->stop_after;
}

enum { MOST_SETTINGS = 12 };

static lm_status train(lm_error *e, const char *out, const char *const *more, bool resume, watch *w) {
    char *folder = lm_format("out=%s/%s", run.folder, out), *config = lm_format("config=%s/ssr.json", run.folder);
    const char *all[MOST_SETTINGS] = {folder, config, "stage=ssr", "size=64", "frames=3", "crop=16"};
    for (int n = 6; more && *more; n++, more++) all[n] = *more;
    const lm_trainer_options o = {.precision = LM_F32, .resume = resume, .progress = on_step, .user = w};
    lm_status s = tiny_run_train(e, &run, all, &o);
    lm_free(folder);
    lm_free(config);
    return s;
}

// Validation losses of metrics.csv, first and last; their number.
static int validations(const char *out, double *first, double *last) {
    char *path = lm_format("%s/%s/metrics.csv", run.folder, out), line[256];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int count = 0;
    while (fgets(line, sizeof line, f)) {
        double loss;
        if (sscanf(line, "%*d,%*d,%*f,%*f,%*f,%*f,%lf", &loss) != 1) continue;
        if (count++ == 0) *first = loss;
        *last = loss;
    }
    fclose(f);
    lm_free(path);
    return count;
}

static void runs_resume_to_the_same_bytes(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {0};
    if (train(&e, "ssr", NULL, false, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w.last, TINY_STEPS);
    w = (watch){.stop_after = 5};
    assert_int_equal(train(&e, "ssr-2", NULL, false, &w), LM_CANCELLED);
    lm_error_clear(&e);
    w = (watch){0};
    if (train(&e, "ssr-2", NULL, true, &w) != LM_OK) fail_msg("%s", e.text);
    tiny_run_expect_same(&run, "ssr", "ssr-2");
    char *sheet = tiny_path(&run, "ssr/sample-0000012.png");
    assert_int_equal(access(sheet, R_OK), 0);
    lm_free(sheet);
    double first, last;
    assert_int_equal(validations("ssr", &first, &last), 3);
    assert_true(isfinite(first) && isfinite(last));
}

// The network begins as the zero function, whose loss is the mean square of v, and learns to use what it is given. From
// its own weights a run goes on.
static void training_lowers_the_loss(void **state) {
    (void)state;
    static const char *const longer[] = {"steps=600", "learning_rate=0.01", "validate_every=60", "sample_every=0",
                                         NULL};
    lm_error e = {0};
    watch w = {0};
    double first, last;
    if (train(&e, "longer", longer, false, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(validations("longer", &first, &last), 10);
    if (!(last < 0.9 * first)) fail_msg("validation loss from %g to %g", first, last);
    char *init = lm_format("init=%s/longer", run.folder);
    const char *const on[] = {init, "config=", "steps=4", "learning_rate=0", "sample_every=0", NULL};
    if (train(&e, "on", on, false, &w) != LM_OK) fail_msg("%s", e.text);
    double same;
    validations("on", &same, &same);
    assert_true(fabs(same - last) < 1e-3); // but for half precision
    lm_free(init);
}

static void expect_refused(const char *const *settings, const char *message) {
    lm_error e = {0};
    watch w = {0};
    lm_status s = train(&e, "refused", settings, false, &w);
    if (s != LM_USAGE || !strstr(e.text, message)) fail_msg("status %d, '%s'; expected '%s'", s, e.text, message);
}

static void wrong_settings_are_refused(void **state) {
    (void)state;
    char *base = lm_format("config=%s/net.json", run.folder);
#define REFUSED(message, ...) expect_refused((const char *const[]){__VA_ARGS__, NULL}, message)
    REFUSED("crop is 24; it must be a multiple of 16", "crop=24");
    REFUSED("crop must be a whole number from 16", "crop=0");
    REFUSED("crop 80 is larger than size 64", "crop=80");
    REFUSED("frames 17: this network takes multiples of 1, at most 16", "frames=17");
    REFUSED("use size 64", "size=32");
    REFUSED("net.json is no super-resolution network", base);
    REFUSED("ssr.json is a super-resolution network; the stage ssr trains it", "stage=image");
    REFUSED("stage must be image, video, ssr or style", "stage=sr");
#undef REFUSED
    lm_free(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_those_of_the_specification),
        cmocka_unit_test(crops_cover_the_clip),
        cmocka_unit_test(triples_do_not_depend_on_the_batch),
        cmocka_unit_test(runs_resume_to_the_same_bytes),
        cmocka_unit_test(training_lowers_the_loss),
        cmocka_unit_test(wrong_settings_are_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
