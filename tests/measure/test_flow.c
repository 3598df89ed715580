// The optical flow against pictures whose motion is known: a smooth texture, sampled where a motion takes every pixel.
#include "measure/flow.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

// Waves of 5 to 90 pixels, in no common direction or phase, the longer the higher as in photographs; 128 +- 100.
static double texture(double x, double y) {
    static const double wave[][4] = {
        // along x, along y, phase, height
        {0.06, 0.04, 0.3, 25}, {-0.07, 0.11, 1.7, 20},  {0.21, -0.16, 2.9, 18},
        {0.32, 0.35, 4.1, 15}, {-0.08, -0.77, 5.3, 12}, {1.15, 0.21, 0.8, 10},
    };
    double sum = 128;
    for (int i = 0; i < 6; i++) sum += wave[i][3] * sin(wave[i][0] * x + wave[i][1] * y + wave[i][2]);
    return sum;
}

// Of a point of the first picture: where it is in the second one.
typedef struct motion {
    double dx, dy;       // pixels
    double angle, scale; // about the middle
    double middle_x, middle_y;
} motion;

static void move(const motion *m, double x, double y, double *to_x, double *to_y) {
    double a = x - m->middle_x, b = y - m->middle_y, c = m->scale * cos(m->angle), s = m->scale * sin(m->angle);
    *to_x = m->middle_x + c * a - s * b + m->dx;
    *to_y = m->middle_y + s * a + c * b + m->dy;
}

typedef struct pictures {
    int width, height;
    float *from, *to, *u, *v;
    lm_flow *flow;
} pictures;

static pictures make(int width, int height) {
    pictures p = {.width = width, .height = height, .flow = lm_flow_create(width, height)};
    float **planes[] = {&p.from, &p.to, &p.u, &p.v};
    assert_non_null(p.flow);
    for (int i = 0; i < 4; i++) {
        *planes[i] = calloc((size_t)width * (size_t)height, sizeof(float));
        assert_non_null(*planes[i]);
    }
    return p;
}

static void release(pictures *p) {
    lm_flow_free(&p->flow);
    free(p->from);
    free(p->to);
    free(p->u);
    free(p->v);
}

// from(x) = to(move(x)), both rounded to whole gray values as frames are. Returns the mean length of the error of the
// flow over pixels whose motion ends inside.
static double flow_error(int width, int height, motion m) {
    pictures p = make(width, height);
    double error = 0, x1, y1;
    int n = 0;
    m.middle_x = 0.5 * (width - 1), m.middle_y = 0.5 * (height - 1);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            move(&m, x, y, &x1, &y1);
            p.from[y * width + x] = (float)lround(texture(x1, y1));
            p.to[y * width + x] = (float)lround(texture(x, y));
        }
    lm_flow_run(p.flow, p.from, p.to, p.u, p.v);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            move(&m, x, y, &x1, &y1);
            if (x1 < 0 || y1 < 0 || x1 > width - 1 || y1 > height - 1) continue;
            error += hypot(x + (double)p.u[y * width + x] - x1, y + (double)p.v[y * width + x] - y1);
            n++;
        }
    release(&p);
    return error / n;
}

#define DEGREES(a) ((a)*3.14159265358979 / 180)

static const struct {
    int width, height;
    motion m;
    double most;
} cases[] = {
    {64, 64, {.dx = 0.3, .dy = -0.6, .scale = 1}, 0.05},
    {64, 64, {.dx = -2.5, .dy = 1.25, .scale = 1}, 0.05},
    {64, 64, {.dx = 5, .dy = 3, .scale = 1}, 0.1},
    {97, 61, {.dx = 3.4, .dy = 4.2, .scale = 1}, 0.1},
    {160, 120, {.dx = -11, .dy = 6.5, .scale = 1}, 0.2},
    {64, 64, {.angle = DEGREES(2), .scale = 1}, 0.05},
    {96, 96, {.angle = DEGREES(-5), .scale = 1}, 0.15},
    {96, 96, {.scale = 1.05}, 0.1},
    {96, 96, {.dx = 1.5, .angle = DEGREES(3), .scale = 0.97}, 0.1},
};

static void motions_are_found(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double error = flow_error(cases[i].width, cases[i].height, cases[i].m);
        print_message("%dx%d, (%.2f, %.2f), %.1f degrees, x %.2f: mean error %.3f pixels\n", cases[i].width,
                      cases[i].height, cases[i].m.dx, cases[i].m.dy, cases[i].m.angle * 57.29578, cases[i].m.scale,
                      error);
        if (!(error <= cases[i].most)) fail_msg("that is more than %.3f", cases[i].most);
    }
}

static void no_motion_is_exactly_none(void **state) {
    (void)state;
    assert_true(flow_error(40, 30, (motion){.scale = 1}) == 0);
}

// Sizes down to one pixel, and pictures without any texture.
static void flat_pictures_do_not_move(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 9}, {17, 1}, {2, 3}, {8, 8}, {15, 16}, {33, 31}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pictures p = make(sizes[i][0], sizes[i][1]);
        int n = p.width * p.height;
        for (int k = 0; k < n; k++) p.from[k] = 10, p.to[k] = 200;
        lm_flow_run(p.flow, p.from, p.to, p.u, p.v);
        for (int k = 0; k < n; k++) assert_true(p.u[k] == 0 && p.v[k] == 0);
        release(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(motions_are_found),
        cmocka_unit_test(no_motion_is_exactly_none),
        cmocka_unit_test(flat_pictures_do_not_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
