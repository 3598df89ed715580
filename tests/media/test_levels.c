// Bytes and levels: every byte comes back, levels go to the nearest one, and what lies outside is cut off.
#include "media/levels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static uint8_t byte_of(float level) {
    uint8_t byte;
    lm_bytes_from_floats(&byte, &level, 1);
    return byte;
}

static void every_byte_comes_back(void **state) {
    (void)state;
    uint8_t bytes[256], back[256];
    float levels[256];
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    lm_floats_from_bytes(levels, bytes, 256);
    lm_bytes_from_floats(back, levels, 256);
    assert_memory_equal(bytes, back, sizeof bytes);
    assert_true(levels[0] == -1 && levels[255] == 1);
    for (int i = 1; i < 256; i++) assert_true(levels[i] > levels[i - 1]);
}

static void levels_go_to_the_nearest_byte(void **state) {
    (void)state;
    for (int i = 0; i < 255; i++) {
        const float middle = ((float)i + 0.5f) / 127.5f - 1, step = 1e-4f;
        assert_int_equal(byte_of(middle - step), i);
        assert_int_equal(byte_of(middle + step), i + 1);
    }
    assert_int_equal(byte_of(0), 128); // 127.5: a half goes up
}

static void what_lies_outside_is_cut_off(void **state) {
    (void)state;
    static const float low[] = {-1.0001f, -2, -1e30f, -INFINITY, NAN}, high[] = {1.0001f, 2, 1e30f, INFINITY};
    for (int i = 0; i < 5; i++) assert_int_equal(byte_of(low[i]), 0);
    for (int i = 0; i < 4; i++) assert_int_equal(byte_of(high[i]), 255);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(levels_go_to_the_nearest_byte),
        cmocka_unit_test(what_lies_outside_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
