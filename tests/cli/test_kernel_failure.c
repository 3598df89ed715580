// A kernel that fails ends each of the library's calls with LUMIERE_MEMORY and a message that names the node, rather
// than with talk of damaged weights; context and model are good for the same call again.
#include "cli/run_options.h"
#include "cli/tiny_pair.h"
#include "refusing_dnnl.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static tiny_pair pair;

static lumiere_status generate(lumiere_clip **out) {
    const lm_generate_options o = {.prompt = "a bee", .seed = 3, .width = 8, .height = 8, .frames = 4, .steps = 2};
    return run_generate(pair.context, pair.small, &o, out);
}

static lumiere_status generate_large(lumiere_clip **out) {
    const lm_generate_options o = {.prompt = "a bee", .seed = 3, .width = 8, .height = 8, .frames = 4, .steps = 1};
    return run_generate(pair.context, pair.large, &o, out);
}

static lumiere_status generate_twice(lumiere_clip **out) {
    const lm_generate_options o = {
        .prompt = "a bee", .seed = 3, .width = 16, .height = 16, .frames = 4, .steps = 2, .refine = 0.5};
    return run_generate(pair.context, pair.small, &o, out);
}

static lumiere_status upscale(lumiere_clip **out) {
    static const uint8_t pixels[4 * 8 * 8 * 3] = {10, 20, 30};
    const lm_upscale_options o = {.prompt = "a bee", .steps = 2, .window = 3, .overlap = 1, .tile = 16};
    lumiere_clip *clip;
    assert_int_equal(lumiere_clip_create(pair.context, 4, 8, 8, 8, pixels, &clip), LUMIERE_OK);
    lumiere_status s = run_upscale(pair.context, pair.large, clip, &o, out);
    lumiere_clip_free(&clip);
    return s;
}

static bool same(const lumiere_clip *a, const lumiere_clip *b) {
    if (!a || !b) return a == b;
    size_t n = (size_t)lumiere_clip_frames(a) * (size_t)lumiere_clip_width(a) * (size_t)lumiere_clip_height(a) * 3;
    return !memcmp(lumiere_clip_data(a), lumiere_clip_data(b), n);
}

static const struct call {
    const char *name;
    lumiere_status (*run)(lumiere_clip **out);
} calls[] = {{"generate", generate},
             {"generate_large", generate_large},
             {"generate_twice", generate_twice},
             {"upscale", upscale}};

static void refuse_call(const struct call *c) {
    lumiere_clip *right, *clip;
    dnnl_refuse(0, 0);
    assert_int_equal(c->run(&right), LUMIERE_OK); // plans are made, the machine's speed is measured
    lumiere_clip_free(&right);
    dnnl_refuse(0, 0);
    assert_int_equal(c->run(&right), LUMIERE_OK);
    const long runs = atomic_load(&dnnl_runs);
    assert_true(runs > 4);
    enum { PLACES = 12 };
    for (int i = 0; i <= PLACES; i++) {
        dnnl_refuse(1 + (runs - 1) * i / PLACES, i % 2 ? LONG_MAX : 1);
        lumiere_status status = c->run(&clip);
        const char *message = lumiere_error_message(pair.context);
        if (status != LUMIERE_MEMORY || strncmp(message, "the node ", 9) != 0 || !strstr(message, "oneDNN: no memory"))
            fail_msg("%s, place %d: %d, \"%s\"", c->name, i, (int)status, message);
        assert_null(clip);
    }
    dnnl_refuse(0, 0);
    assert_int_equal(c->run(&clip), LUMIERE_OK);
    assert_true(same(right, clip));
    lumiere_clip_free(&right);
    lumiere_clip_free(&clip);
}

static void every_call_ends_so(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) refuse_call(&calls[i]);
}

static void take_line(void *user, bool ok, const char *text) {
    (void)ok;
    if (strstr(text, "arithmetic in f32: the node")) ++*(int *)user;
}
static void take_text(void *user, const char *text) {
    (void)user, (void)text;
}

static void tools_end_so(void **state) {
    (void)state;
    int lines = 0;
    dnnl_refuse(1, 1);
    assert_int_equal(lumiere_doctor(pair.context, NULL, take_line, &lines), LUMIERE_MEMORY);
    assert_int_equal(lines, 1);
    const lumiere_bench_options o = {.rows = "image", .repeat = 1};
    dnnl_refuse(1, 1);
    assert_int_equal(lumiere_bench(pair.context, &o, take_text, NULL), LUMIERE_MEMORY);
    assert_non_null(strstr(lumiere_error_message(pair.context), "the node "));
    dnnl_refuse(0, 0);
}

static int open_pair(void **state) {
    (void)state;
    tiny_pair_open(&pair, 2);
    return 0;
}

static int close_pair(void **state) {
    (void)state;
    tiny_pair_close(&pair);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_ends_so), cmocka_unit_test(tools_end_so)};
    return cmocka_run_group_tests(tests, open_pair, close_pair);
}
