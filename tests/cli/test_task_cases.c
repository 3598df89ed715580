// Random tasks on a tiny model with 2 steps: odd sizes, one frame, alpha, turned phone video, empty and full masks,
// every fit. All must run, and what they make be of the size asked for. 20 cases; 100 with LUMIERE_TEST_ALL=1.
#include "cli/clip_files.h"
#include "cli/run_options.h"
#include "cli/tiny_model.h"

#include "base/memory.h"
#include "base/random.h"
#include "lumiere/lumiere.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *work;
static lumiere_context *one_thread, *two_threads;
static lumiere_model *model, *same_model;
static lm_stream stream = {.seed = 20, .purpose = LM_FOR_TEST};

static int between(int low, int high) {
    return low + (int)lm_stream_below(&stream, high - low + 1);
}

static bool chance(int one_in) {
    return lm_stream_below(&stream, one_in) == 0;
}

// The track header's matrix of a quarter turn clockwise, as phones write it.
static void turn_video(const char *path, int height) {
    const int32_t one = 1 << 16, m[9] = {0, one, 0, -one, 0, 0, height * one, 0, 1 << 30};
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    static uint8_t bytes[1 << 20];
    size_t size = fread(bytes, 1, sizeof bytes, f);
    uint8_t *header = memmem(bytes, size, "tkhd", 4);
    assert_non_null(header);
    for (int i = 0; i < 36; i++) header[44 + i] = (uint8_t)((uint32_t)m[i / 4] >> (24 - 8 * (i % 4)));
    rewind(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

// A clip of smooth colours in a file of some kind; *width and *height are those of its frames as they are shown.
static void make_input(int number, char *path, size_t size, int *frames, int *width, int *height) {
    static const char *const endings[] = {".npy", ".gif", ".mp4", ".webm", ".webp", ".apng", "/", ".png"};
    int kind = between(0, 7);
    bool alpha = kind >= 4 && chance(2), turned = kind == 2 && chance(2);
    *frames = kind == 7 || chance(4) ? 1 : between(2, 9);
    *width = between(1, chance(3) ? 8 : 70), *height = between(1, chance(3) ? 8 : 70);
    if (kind == 2) *width += *width & 1, *height += *height & 1; // what .mp4 holds
    snprintf(path, size, "%s/input-%d%s", work, number, endings[kind]);
    lm_clip c;
    assert_int_equal(lm_clip_alloc(NULL, *frames, *width, *height, alpha ? 4 : 3, &c), LM_OK);
    c.fps = between(1, 60);
    int64_t n = (int64_t)*frames * *width * *height * c.channels;
    for (int64_t i = 0; i < n; i++) c.data[i] = (uint8_t)(128 + 100 * ((i / 7 + number) % 3 - 1) + i % 11);
    write_clip(&c, path);
    lm_clip_free(&c);
    if (!turned) return;
    turn_video(path, *height);
    int swap = *width;
    *width = *height, *height = swap;
}

// A mask of that size: nothing, everything, or noise; one frame or several.
static lumiere_clip *make_mask(int frames, int width, int height) {
    lumiere_clip *mask;
    int n = frames * width * height * 3, kind = between(0, 3);
    uint8_t *pixels = lm_alloc((size_t)n, 1);
    assert_non_null(pixels);
    for (int i = 0; i < n; i++)
        pixels[i] = (uint8_t)(kind == 0 ? 0 : kind == 1 ? 255 : (unsigned)(i / 3 * 2654435761u) >> 24);
    assert_int_equal(lumiere_clip_create(one_thread, frames, width, height, 0, pixels, &mask), LUMIERE_OK);
    lm_free(pixels);
    return mask;
}

static void draw_options(lm_task_options *o, lm_box *box, lumiere_clip **mask) {
    const int width = lumiere_clip_width(o->input), height = lumiere_clip_height(o->input);
    o->task = (lm_task_kind)between(LM_TASK_ANIMATE, LM_TASK_EDIT);
    o->generate = (lm_generate_options){.prompt = "a bee", .seed = (uint64_t)between(0, 1000), .steps = 2};
    o->generate.loop = chance(3);
    if (chance(2)) o->generate.frames = between(1, 12);
    if (chance(2)) o->generate.width = between(1, 24), o->generate.height = between(1, 24);
    int fit = between(0, 3); // 0: none
    o->fit_set = fit > 0;
    if (fit) o->fit = (lm_fit_kind)(fit - 1);
    o->feather = chance(2) ? between(0, 60) / 4.0 : 0;
    o->strength = between(0, 4) / 4.0;
    o->strength_set = chance(2);
    o->no_composite = chance(4);
    o->background_given = chance(2);
    if (o->task == LM_TASK_OUTPAINT)
        o->pad = (lm_sides){between(0, width), between(0, height), between(0, width), between(0, 3)};
    if (o->task != LM_TASK_INPAINT && o->task != LM_TASK_CINEMAGRAPH) return;
    if (chance(2)) {
        bool fitted = o->fit_set && chance(2);
        int frames = chance(2) ? 1 : lumiere_clip_frames(o->input);
        *mask = make_mask(frames, fitted ? between(1, 50) : width, fitted ? between(1, 50) : height);
        o->mask = *mask;
    } else {
        *box = (lm_box){between(-5, width - 1), between(-5, height - 1), between(6, 80), between(6, 80)};
        if (chance(5)) *box = (lm_box){0};
        o->box = box;
    }
}

static lumiere_clip *run(lumiere_context *c, lumiere_model *m, const lm_task_options *o, int number) {
    lumiere_clip *clip;
    if (run_task(c, m, o, &clip) != LUMIERE_OK) fail_msg("case %d: %s", number, lumiere_error_message(c));
    return clip;
}

static void run_case(int number) {
    char path[512];
    int frames, width, height;
    const uint8_t grey[3] = {90, 90, 90};
    lumiere_clip *input, *mask = NULL;
    lm_task_options o = {0};
    lm_box box;
    lumiere_estimate e;
    make_input(number, path, sizeof path, &frames, &width, &height);
    if (lumiere_clip_read_over(one_thread, path, grey, chance(2) ? 0.5 : 0, &input) != LUMIERE_OK)
        fail_msg("case %d: %s", number, lumiere_error_message(one_thread));
    assert_int_equal(lumiere_clip_width(input), width);
    assert_int_equal(lumiere_clip_height(input), height);
    assert_in_range(lumiere_clip_frames(input), 1, frames);
    o.input = input;
    draw_options(&o, &box, &mask);
    if (run_task_estimate(one_thread, model, &o, &e) != LUMIERE_OK)
        fail_msg("case %d: %s", number, lumiere_error_message(one_thread));
    assert_true(*e.fit);
    lumiere_clip *clip = run(one_thread, model, &o, number);
    assert_int_equal(lumiere_clip_frames(clip), o.generate.frames ? o.generate.frames : e.frames);
    assert_int_equal(lumiere_clip_width(clip), o.generate.width ? o.generate.width : e.width);
    assert_int_equal(lumiere_clip_height(clip), o.generate.height ? o.generate.height : e.height);
    lumiere_clip *again = run(two_threads, same_model, &o, number);
    size_t bytes = (size_t)e.frames * (size_t)e.width * (size_t)e.height * 3;
    assert_memory_equal(lumiere_clip_data(clip), lumiere_clip_data(again), bytes);
    lumiere_clip_free(&clip);
    lumiere_clip_free(&again);
    lumiere_clip_free(&input);
    lumiere_clip_free(&mask);
}

static void random_tasks_run(void **state) {
    (void)state;
    int cases = getenv("LUMIERE_TEST_ALL") ? 100 : 20;
    for (int i = 0; i < cases; i++) run_case(i);
}

static int set_up(void **state) {
    (void)state;
    char folder[256];
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    const lumiere_context_options one = {.threads = 1}, two = {.threads = 2};
    if (lumiere_context_create(&one, &one_thread) != LUMIERE_OK) return -1;
    if (lumiere_context_create(&two, &two_threads) != LUMIERE_OK) return -1;
    if (lumiere_model_open(one_thread, folder, &model) != LUMIERE_OK) return -1;
    return lumiere_model_open(two_threads, folder, &same_model) == LUMIERE_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    lumiere_model_free(&model);
    lumiere_model_free(&same_model);
    lumiere_context_free(&one_thread);
    lumiere_context_free(&two_threads);
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_tasks_run)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
