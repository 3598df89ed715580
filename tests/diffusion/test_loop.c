// Loops: turning the ring loses nothing, the turns reach everywhere, and a network that knows nothing of rings closes
// one when it is sampled so.
#include "base/memory.h"
#include "diffusion/loop.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { FRAMES = 24, WIDE = 32 };

static void turning_is_undone(void **state) {
    (void)state;
    float ring[7 * 3], window[10 * 3], back[7 * 3];
    for (int i = 0; i < 21; i++) ring[i] = (float)i;
    for (int first = 0; first < 7; first++) {
        lm_loop_cut(ring, 7, 3, first, 10, window);
        for (int i = 0; i < 10; i++) assert_true(window[3 * i + 1] == (float)((first + i) % 7 * 3 + 1));
        memset(back, 0, sizeof back);
        lm_loop_join(window, 7, 3, first, back);
        assert_memory_equal(back, ring, sizeof ring);
    }
}

// Within 40 steps the border has been near every frame of 80, and never twice running in the same place.
static void turns_are_spread(void **state) {
    (void)state;
    bool near[80] = {false};
    assert_int_equal(lm_loop_start(0, 80), 0);
    for (int step = 0; step < 40; step++) {
        int first = lm_loop_start(step, 80);
        assert_in_range(first, 0, 79);
        assert_true(abs(first - lm_loop_start(step + 1, 80)) > 20);
        for (int k = -2; k <= 2; k++) near[(first + k + 80) % 80] = true;
    }
    for (int i = 0; i < 80; i++) assert_true(near[i]);
    for (int step = 0; step < 10; step++) assert_int_equal(lm_loop_start(step, 1), 0);
}

// A network that predicts each frame from its neighbours in the window: the weighted mean over five frames, of those
// that are there. Its clips are smooth within the window and know nothing beyond.
typedef struct smoother {
    bool loop;
    int step;
} smoother;

static void smooth(const float *x, float *x0) {
    for (int f = 0; f < FRAMES; f++)
        for (int i = 0; i < WIDE; i++) {
            float sum = 0, n = 0;
            for (int k = f - 3; k <= f + 3; k++)
                if (k >= 0 && k < FRAMES) sum += x[k * WIDE + i], n++;
            x0[f * WIDE + i] = sum / n;
        }
}

static lm_status denoise(lm_error *e, void *user, const float *x, double t, float *v) {
    (void)e;
    smoother *s = user;
    static float window[FRAMES * WIDE], x0[FRAMES * WIDE];
    const lm_level l = lm_level_at(t);
    int first = s->loop ? lm_loop_start(s->step++, FRAMES) : 0;
    lm_loop_cut(x, FRAMES, WIDE, first, FRAMES, window);
    smooth(window, x0);
    for (int i = 0; i < FRAMES * WIDE; i++) window[i] = ((float)l.alpha * window[i] - x0[i]) / (float)l.sigma;
    lm_loop_join(window, FRAMES, WIDE, first, v);
    return LM_OK;
}

// The mean difference of the last frame and the first, in units of that of neighbours.
static double closure(bool loop) {
    static float x[FRAMES * WIDE];
    smoother s = {.loop = loop};
    const lm_sampler sampler = {
        .kind = LM_SAMPLER_DDIM, .steps = 20, .t_start = 0.999, .clamp = INFINITY, .denoise = denoise, .user = &s};
    lm_noise_fill(x, FRAMES, WIDE, 4, 0, 0);
    assert_int_equal(lm_sample(NULL, &sampler, x, FRAMES * WIDE), LM_OK);
    double ends = 0, neighbours = 0;
    for (int i = 0; i < WIDE; i++) ends += fabsf(x[(FRAMES - 1) * WIDE + i] - x[i]);
    for (int i = 0; i < (FRAMES - 1) * WIDE; i++) neighbours += fabsf(x[i + WIDE] - x[i]) / (FRAMES - 1);
    return ends / neighbours;
}

static void sampling_a_ring_closes_it(void **state) {
    (void)state;
    double open = closure(false), closed = closure(true);
    print_message("last to first frame, in neighbours' differences: %.2f without, %.2f with loop\n", open, closed);
    assert_true(open > 3);
    assert_true(closed < 1.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turning_is_undone),
        cmocka_unit_test(turns_are_spread),
        cmocka_unit_test(sampling_a_ring_closes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
