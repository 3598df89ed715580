// What is given of a clip: properties of every kind of condition, and how often each comes.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "train/conditions.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { SIDE = 32, FRAMES = 7, PIXELS = SIDE * SIDE };

static float x0[FRAMES * PIXELS * 3], cond[FRAMES * PIXELS * 4];

static float given(int f, int y, int x) {
    return cond[((f * SIDE + y) * SIDE + x) * 4 + 3];
}

// A clip whose pixels [4,10) x [20,25) change in frame 3 only.
static void make_clip(void) {
    for (int i = 0; i < FRAMES * PIXELS * 3; i++) x0[i] = (float)(i % (PIXELS * 3) % 97 + 1) / 100.0f;
    for (int y = 4; y < 10; y++)
        for (int x = 20; x < 25; x++) x0[((3 * SIDE + y) * SIDE + x) * 3 + 1] -= 0.11f;
}

static void apply(const lm_condition *c) {
    memset(cond, 0x7f, sizeof cond);
    lm_condition_apply(c, x0, FRAMES, SIDE, cond);
    for (int i = 0; i < FRAMES * PIXELS; i++) {
        assert_true(cond[i * 4 + 3] == 0 || cond[i * 4 + 3] == 1);
        for (int k = 0; k < 3; k++) assert_true(cond[i * 4 + k] == x0[i * 3 + k] * cond[i * 4 + 3]);
    }
}

// Asserts that frame f's mask is `inside` in [y,y+height) x [x,x+width) cut to the frame, and 1 - inside elsewhere.
static void check_box(int f, int y, int x, int height, int width, float inside) {
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            bool in = i >= y && i < y + height && j >= x && j < x + width;
            assert_true(given(f, i, j) == (in ? inside : 1 - inside));
        }
}

static void test_nothing_and_first(void **state) {
    (void)state;
    lm_condition c = {.kind = LM_GIVEN_NOTHING, .y = 1, .x = 2, .height = 8, .width = 9};
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 0, 0, SIDE, SIDE, 0);
    c.kind = LM_GIVEN_FIRST;
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 0, 0, SIDE, SIDE, f == 0);
}

static void test_boxes(void **state) {
    (void)state;
    lm_condition c = {.kind = LM_GIVEN_AROUND, .y = 1, .x = 2, .height = 8, .width = 30};
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 1, 2, 8, 30, 0);
    c.kind = LM_GIVEN_BOX;
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 1, 2, 8, 30, 1);
    c.kind = LM_GIVEN_BAND;
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 0, 2, SIDE, 30, 1);
    c.rows = true;
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 1, 0, 8, SIDE, 1);
}

static void test_drifting_box(void **state) {
    (void)state;
    // y in halves: 3, 3.5, 4, 4.5, 5, 5.5, 6, rounded half to even; x beyond the frame's right side at last
    static const int tops[FRAMES] = {3, 4, 4, 4, 5, 6, 6}, lefts[FRAMES] = {0, 5, 10, 15, 20, 25, 30};
    lm_condition c = {.kind = LM_GIVEN_DRIFTING, .y = 3, .x = 0, .height = 10, .width = 5, .y_end = 6, .x_end = 30};
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, tops[f], lefts[f], 10, 5, 0);
    lm_condition_apply(&c, x0, 1, SIDE, cond);
    check_box(0, 3, 0, 10, 5, 0);
}

static void test_cinemagraph(void **state) {
    (void)state;
    lm_condition c = {.kind = LM_GIVEN_CINEMAGRAPH, .y = 1, .x = 2, .height = 8, .width = 30};
    apply(&c);
    check_box(0, 0, 0, SIDE, SIDE, 1);
    for (int f = 1; f < FRAMES; f++) check_box(f, 2, 18, 10, 9, 0); // two pixels wider than what moves
    for (int f = 1; f < FRAMES; f++) memcpy(x0 + f * PIXELS * 3, x0, PIXELS * 3 * sizeof *x0);
    apply(&c);
    for (int f = 0; f < FRAMES; f++) check_box(f, 0, 0, SIDE, SIDE, 1); // nothing moves
    make_clip();
}

static int reset_clip(void **state) {
    (void)state;
    make_clip();
    return 0;
}

static void test_draws(void **state) {
    (void)state;
    enum { DRAWS = 2000 };
    static const double shares[] = {2 / 9.0, 2 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0, 1 / 9.0};
    int seen[7] = {0}, rows = 0;
    double height = 0, top = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        lm_stream random = {.seed = 3, .purpose = LM_FOR_CONDITION, .item = i % 8, .step = i / 8};
        lm_condition c = lm_condition_draw(&random, SIDE);
        seen[c.kind]++;
        rows += c.kind == LM_GIVEN_BAND && c.rows;
        assert_in_range(c.height, SIDE / 8, SIDE);
        assert_in_range(c.width, SIDE / 8, SIDE);
        assert_in_range(c.y, 0, SIDE - c.height);
        assert_in_range(c.x, 0, SIDE - c.width);
        assert_in_range(c.y_end, 0, SIDE - SIDE / 8);
        assert_in_range(c.x_end, 0, SIDE - SIDE / 8);
        height += c.height;
        top += c.y;
    }
    for (int k = 0; k < 7; k++) { // five standard deviations
        double share = (double)seen[k] / DRAWS, p = shares[k];
        if (fabs(share - p) > 5 * sqrt(p * (1 - p) / DRAWS)) fail_msg("kind %d: %g, not %g", k, share, p);
    }
    assert_true(fabs(rows - seen[LM_GIVEN_BAND] / 2.0) < 5 * sqrt(seen[LM_GIVEN_BAND] / 4.0));
    assert_true(fabs(height / DRAWS - 18) < 5 * 8.4 / sqrt(DRAWS)); // the mean of 4 to 32
    assert_true(fabs(top / DRAWS - 7) < 5 * 7.2 / sqrt(DRAWS));     // half of what is left
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_and_first), cmocka_unit_test(test_boxes), cmocka_unit_test(test_drifting_box),
        cmocka_unit_test(test_cinemagraph),       cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests(tests, reset_clip, NULL);
}
