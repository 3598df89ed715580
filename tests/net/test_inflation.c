// The inflated network at birth: what it makes of a clip is what the image network makes of its frames (Lumiere, 3.1).
#include "../op/formula.h"
#include "tested_network.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const network_shape video_shape = {1, 24, 16, 16, 6}, image_shape = {1, 1, 16, 16, 6};
static const double tolerance = 1e-5; // of the largest value

// The image network is alive throughout, what is added is as born; born at random: from the formula.
static bool keep_birth(const lm_param_info *p) {
    return lm_unet_is_inflation(p->name) && (p->init.kind == LM_INIT_ZERO || p->init.kind == LM_INIT_DIRAC);
}

static int64_t input_count(const network *n, lm_tensor t) {
    lm_desc d = lm_tensor_desc(n->g, t);
    return lm_desc_count(&d);
}

static double *make_clip(int64_t frame, bool constant) {
    double *clip = malloc((size_t)(video_shape.frames * frame) * sizeof *clip);
    assert_non_null(clip);
    for (int64_t i = 0; i < video_shape.frames * frame; i++) clip[i] = formula_value(77, constant ? i % frame : i);
    return clip;
}

// The image network on each frame of a clip, one at a time.
static double *image_outputs(const lm_unet_config *c, const double *clip, int64_t frame, int64_t *out_frame) {
    network n;
    network_open(&n, "cpu", 2, c, image_shape, LM_F32, NETWORK_FORWARD);
    network_fill(&n, NULL);
    network_write_formula(&n, image_shape);
    assert_int_equal(input_count(&n, n.u.x), frame);
    double *all = NULL;
    for (int64_t f = 0; f < video_shape.frames; f++) {
        network_write(&n, n.u.x, clip + f * frame);
        network_run(&n);
        double *v = network_read(&n, n.u.v, out_frame);
        if (!all) assert_non_null(all = malloc((size_t)(video_shape.frames * *out_frame) * sizeof *all));
        memcpy(all + f * *out_frame, v, (size_t)*out_frame * sizeof *v);
        free(v);
    }
    network_close(&n);
    return all;
}

// Whether each frame of the inflated network's output equals the image network's on it.
static void compare(const lm_unet_config *video, bool constant, bool *equal) {
    int64_t frame = video_shape.height * video_shape.width * video->in_channels, out_frame, count;
    lm_unet_config image = *video;
    image.video = false;
    image.cond_channels = 0;
    double *clip = make_clip(frame, constant), *expected = image_outputs(&image, clip, frame, &out_frame);
    network n;
    network_open(&n, "cpu", 2, video, video_shape, LM_F32, NETWORK_FORWARD);
    network_fill(&n, keep_birth);
    network_write_formula(&n, video_shape);
    network_write(&n, n.u.x, clip);
    network_run(&n);
    double *v = network_read(&n, n.u.v, &count);
    assert_int_equal(count, video_shape.frames * out_frame);
    for (int64_t f = 0; f < video_shape.frames; f++) {
        double largest = 0, wrong = 0;
        for (int64_t i = f * out_frame; i < (f + 1) * out_frame; i++) {
            largest = fmax(largest, fabs(expected[i]));
            wrong = fmax(wrong, fabs(v[i] - expected[i]));
        }
        assert_true(largest > 0.1);
        equal[f] = wrong <= tolerance * largest;
    }
    network_close(&n);
    free(v);
    free(clip);
    free(expected);
}

static lm_unet_config inflated(void) {
    lm_unet_config c = lm_unet_config_default();
    c.video = true;
    c.cond_channels = 4;
    return c;
}

static void test_without_temporal_resizing_every_frame_is_the_image_networks(void **state) {
    (void)state;
    bool equal[64];
    lm_unet_config c = inflated();
    memset(c.temporal_down, 0, sizeof c.temporal_down);
    compare(&c, false, equal);
    for (int64_t f = 0; f < video_shape.frames; f++) assert_true(equal[f]);
}

static void test_every_frame_of_a_constant_clip_is_the_image_networks(void **state) {
    (void)state;
    bool equal[64];
    lm_unet_config c = inflated();
    compare(&c, true, equal);
    for (int64_t f = 0; f < video_shape.frames; f++) assert_true(equal[f]);
}

static void test_every_eighth_frame_of_any_clip_is_the_image_networks(void **state) {
    (void)state;
    bool equal[64];
    lm_unet_config c = inflated();
    compare(&c, false, equal);
    for (int64_t f = 0; f < video_shape.frames; f++) assert_int_equal(equal[f], f % 8 == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_temporal_resizing_every_frame_is_the_image_networks),
        cmocka_unit_test(test_every_frame_of_a_constant_clip_is_the_image_networks),
        cmocka_unit_test(test_every_eighth_frame_of_any_clip_is_the_image_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
