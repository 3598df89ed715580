// What is kept and what is made: the condition is the one that training makes, masks mean what they say, and what is
// kept comes back to the byte.
#include "base/memory.h"
#include "base/random.h"
#include "tasks/given.h"
#include "train/conditions.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { FRAMES = 5, SIZE = 16, PIXELS = SIZE * SIZE };

static lm_stream stream = {.seed = 3, .purpose = LM_FOR_TEST};

static lm_clip random_clip(int frames, int width, int height) {
    lm_clip c;
    assert_int_equal(lm_clip_alloc(NULL, frames, width, height, 3, &c), LM_OK);
    for (int i = 0; i < frames * width * height * 3; i++) c.data[i] = (uint8_t)lm_stream_u32(&stream);
    c.fps = 16;
    return c;
}

// A picture in which only a square of 4 x 4 pixels at (6,5) changes over time, and from every frame to the next.
static lm_clip still_with_a_square(void) {
    lm_clip c = random_clip(FRAMES, SIZE, SIZE);
    for (int f = 1; f < FRAMES; f++) {
        memcpy(c.data + f * PIXELS * 3, c.data, PIXELS * 3);
        for (int y = 5; y < 9; y++) memset(c.data + (f * PIXELS + y * SIZE + 6) * 3, 40 * f + (c.data[0] & 1), 12);
    }
    for (int y = 5; y < 9; y++) memset(c.data + (y * SIZE + 6) * 3, 250, 12);
    return c;
}

static lm_given_options options_for(lm_task_kind task, const lm_clip *input) {
    return (lm_given_options){.task = task,
                              .input = input,
                              .input_fps = 16,
                              .frames = FRAMES,
                              .width = SIZE,
                              .height = SIZE,
                              .fps = 16,
                              .background = {255, 255, 255}};
}

static lm_given make(const lm_given_options *o) {
    lm_error e = {0};
    lm_given g;
    if (lm_given_make(&e, o, &g) != LM_OK) fail_msg("%s", e.text);
    return g;
}

// Compares a task's condition with the one of training for the same clip.
static void assert_as_trained(const lm_given_options *o, const lm_clip *clip, const lm_condition *trained) {
    static float x0[FRAMES * PIXELS * 3], wanted[FRAMES * PIXELS * 4], got[PIXELS * 4];
    for (int i = 0; i < FRAMES * PIXELS * 3; i++) x0[i] = (float)clip->data[i] / 127.5f - 1;
    lm_condition_apply(trained, x0, FRAMES, SIZE, wanted);
    lm_given g = make(o);
    for (int f = 0; f < FRAMES; f++) {
        lm_given_condition(&g, f, SIZE, SIZE, got);
        for (int i = 0; i < PIXELS * 4; i++) assert_true(got[i] == wanted[f * PIXELS * 4 + i]);
    }
    lm_given_free(&g);
}

static void conditions_are_those_of_training(void **state) {
    (void)state;
    lm_clip clip = random_clip(FRAMES, SIZE, SIZE), part, still = still_with_a_square();
    const lm_box box = {3, 2, 7, 9};
    const lm_condition around = {LM_GIVEN_AROUND, 2, 3, 9, 7, 0, 0, false};
    const lm_condition inside = {LM_GIVEN_BOX, 2, 3, 9, 7, 0, 0, false};
    const lm_condition first = {.kind = LM_GIVEN_FIRST}, moving = {.kind = LM_GIVEN_CINEMAGRAPH};
    lm_given_options o = options_for(LM_TASK_ANIMATE, &clip);
    assert_as_trained(&o, &clip, &first);
    o = options_for(LM_TASK_INPAINT, &clip);
    o.box = &box;
    assert_as_trained(&o, &clip, &around);
    assert_int_equal(lm_clip_alloc(NULL, FRAMES, 7, 9, 3, &part), LM_OK);
    for (int f = 0; f < FRAMES; f++)
        for (int y = 0; y < 9; y++)
            memcpy(part.data + (f * 9 + y) * 21, clip.data + (f * PIXELS + (y + 2) * SIZE + 3) * 3, 21);
    o = options_for(LM_TASK_OUTPAINT, &part);
    o.left = 3, o.top = 2, o.right = SIZE - 10, o.bottom = SIZE - 11;
    assert_as_trained(&o, &clip, &inside);
    const lm_box square = {4, 3, 8, 8}; // two pixels around what moves
    o = options_for(LM_TASK_CINEMAGRAPH, &still);
    o.box = &square;
    assert_as_trained(&o, &still, &moving);
    lm_clip_free(&clip);
    lm_clip_free(&part);
    lm_clip_free(&still);
}

static void a_larger_run_is_given_nothing_there(void **state) {
    (void)state;
    lm_clip clip = random_clip(FRAMES, SIZE, SIZE);
    lm_given_options o = options_for(LM_TASK_INPAINT, &clip);
    const lm_box none = {0};
    o.box = &none;
    lm_given g = make(&o);
    enum { WIDE = SIZE + 8, HIGH = SIZE + 3 };
    static float out[WIDE * HIGH * 4];
    lm_given_condition(&g, 1, WIDE, HIGH, out);
    for (int i = 0; i < WIDE * HIGH; i++) assert_true(out[4 * i + 3] == (i % WIDE < SIZE && i / WIDE < SIZE));
    lm_given_condition(&g, FRAMES, WIDE, HIGH, out);
    for (int i = 0; i < WIDE * HIGH * 4; i++) assert_true(out[i] == 0);
    lm_given_frame(&g, FRAMES + 2, WIDE, HIGH, out);
    const uint8_t *corner = g.clip.data + (FRAMES * PIXELS - 1) * 3;
    assert_true(out[(WIDE * HIGH - 1) * 3] == (float)corner[0] / 127.5f - 1);
    lm_given_free(&g);
    lm_clip_free(&clip);
}

// white, black, and the greys on both sides of the middle
static void masks_are_read_by_brightness(void **state) {
    (void)state;
    lm_clip clip = random_clip(FRAMES, SIZE, SIZE), mask = random_clip(1, SIZE, SIZE);
    memset(mask.data, 0, PIXELS * 3);
    memset(mask.data + 3 * 20, 255, 3);
    memset(mask.data + 3 * 30, 128, 3);
    memset(mask.data + 3 * 40, 127, 3);
    lm_given_options o = options_for(LM_TASK_INPAINT, &clip);
    o.mask = &mask;
    lm_given g = make(&o);
    for (int i = 0; i < FRAMES * PIXELS; i++)
        assert_int_equal(g.made[i], i % PIXELS == 20 || i % PIXELS == 30 ? 255 : 0);
    lm_given_free(&g);
    lm_clip_free(&mask);
    mask = random_clip(FRAMES, SIZE, SIZE); // a mask that moves: frame f has pixel f
    memset(mask.data, 0, FRAMES * PIXELS * 3);
    for (int f = 0; f < FRAMES; f++) memset(mask.data + (f * PIXELS + f) * 3, 255, 3);
    g = make(&o);
    for (int i = 0; i < FRAMES * PIXELS; i++) assert_int_equal(g.made[i], i % PIXELS == i / PIXELS ? 255 : 0);
    lm_given_free(&g);
    lm_clip_free(&mask);
    lm_clip_free(&clip);
}

static void feathers_reach_into_what_is_kept(void **state) {
    (void)state;
    lm_clip clip = random_clip(1, SIZE, SIZE);
    const lm_box box = {6, 6, 3, 3};
    lm_given_options o = options_for(LM_TASK_INPAINT, &clip);
    o.box = &box;
    o.feather = 3;
    lm_given g = make(&o);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            int dx = x < 6 ? 6 - x : x > 8 ? x - 8 : 0, dy = y < 6 ? 6 - y : y > 8 ? y - 8 : 0;
            double share = 1 - sqrt(dx * dx + dy * dy) / 4;
            int wanted = share > 0 ? (int)(255 * share + 1e-4) : 0;
            assert_true(abs(g.made[y * SIZE + x] - wanted) <= 1);
            assert_int_equal(g.made[y * SIZE + x] == 255, dx == 0 && dy == 0);
        }
    lm_given_free(&g);
    lm_clip_free(&clip);
}

// A feather that is wider than the picture, of a picture that is enlarged much.
static void feathers_may_be_wider_than_the_picture(void **state) {
    (void)state;
    lm_clip clip = random_clip(1, 2, 1);
    const lm_box box = {0, 0, 1, 1};
    lm_given_options o = options_for(LM_TASK_INPAINT, &clip);
    o.box = &box;
    o.feather = 1000;
    o.fit = LM_FIT_STRETCH;
    lm_given g = make(&o);
    for (int i = 0; i < PIXELS; i++) assert_in_range(g.made[i], i % SIZE < SIZE / 2 ? 255 : 250, 255);
    assert_int_equal(g.made[SIZE / 2], 254);
    lm_given_free(&g);
    lm_clip_free(&clip);
}

static void kept_pixels_come_back_exactly(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        lm_clip clip = random_clip(FRAMES, 11, 7), mask = random_clip(1, 11, 7), result = random_clip(3, 11, 7);
        lm_given_options o = options_for(LM_TASK_INPAINT, &clip);
        o.mask = &mask;
        o.frames = 3, o.width = 11, o.height = 7;
        o.feather = i % 2 ? 2 : 0;
        lm_given g = make(&o);
        lm_clip before = random_clip(3, 11, 7);
        memcpy(before.data, result.data, 3 * 77 * 3);
        lm_given_composite(&g, &result);
        for (int k = 0; k < 3 * 77 * 3; k++) {
            int kept = clip.data[k], made = before.data[k], weight = g.made[k / 3];
            double wanted = (kept * (255.0 - weight) + made * (double)weight) / 255;
            if (weight == 0) assert_int_equal(result.data[k], kept);
            if (weight == 255) assert_int_equal(result.data[k], made);
            assert_true(fabs(result.data[k] - wanted) <= 0.51);
        }
        lm_given_free(&g);
        lm_clip_free(&clip);
        lm_clip_free(&mask);
        lm_clip_free(&result);
        lm_clip_free(&before);
    }
}

static void assert_fails(const lm_given_options *o, lm_status status, const char *what) {
    lm_error e = {0};
    lm_given g;
    assert_int_equal(lm_given_make(&e, o, &g), status);
    if (!strstr(e.text, what)) fail_msg("\"%s\" does not say \"%s\"", e.text, what);
    assert_null(g.made);
}

static void assert_refused(const lm_given_options *o, const char *what) {
    assert_fails(o, LM_USAGE, what);
}

static void contradictions_are_refused(void **state) {
    (void)state;
    lm_clip clip = random_clip(FRAMES, SIZE, SIZE), small = random_clip(1, 8, 8), two = random_clip(2, SIZE, SIZE);
    const lm_box box = {1, 1, 3, 3}, outside = {SIZE, 0, 3, 3}, negative = {0, 0, -1, 2}, far = {-2147483647, 0, 9, 9};
    lm_given_options o = options_for(LM_TASK_INPAINT, &clip);
    assert_refused(&o, "no mask and no box");
    o.box = &outside;
    assert_refused(&o, "outside");
    o.box = &far;
    assert_refused(&o, "outside");
    o.box = &negative;
    assert_refused(&o, "below 0");
    o.box = &box;
    o.mask = &clip;
    assert_refused(&o, "both a mask and a box");
    o.box = NULL;
    o.mask = &small;
    assert_fails(&o, LM_MEDIA, "the mask is 8x8 and the input 16x16");
    o.mask = &two;
    assert_fails(&o, LM_MEDIA, "the mask has 2 frames and the input 5");
    o.fit_mask = true;
    lm_given g = make(&o);
    lm_given_free(&g);
    o.mask = &small;
    g = make(&o);
    lm_given_free(&g);
    o.feather = NAN;
    assert_refused(&o, "feather");
    o = options_for(LM_TASK_OUTPAINT, &clip);
    o.left = -1;
    assert_refused(&o, "pad");
    o.left = LM_MAX_SIDE;
    assert_refused(&o, "with the pads");
    o = options_for(LM_TASK_EDIT, &clip);
    o.box = &box;
    assert_refused(&o, "inpainting and cinemagraphs only");
    o.box = NULL;
    o.right = 3;
    assert_refused(&o, "outpainting only");
    lm_clip_free(&clip);
    lm_clip_free(&small);
    lm_clip_free(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_are_those_of_training),
        cmocka_unit_test(a_larger_run_is_given_nothing_there),
        cmocka_unit_test(masks_are_read_by_brightness),
        cmocka_unit_test(feathers_reach_into_what_is_kept),
        cmocka_unit_test(feathers_may_be_wider_than_the_picture),
        cmocka_unit_test(kept_pixels_come_back_exactly),
        cmocka_unit_test(contradictions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
