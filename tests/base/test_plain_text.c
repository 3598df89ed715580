// Text that is shown: what is escaped, what is left alone, and where it is cut; error messages hold nothing else.
#include "base/plain_text.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect(const char *text, const char *shown) {
    char out[200];
    size_t n = lm_text_escape(out, sizeof out, text);
    assert_string_equal(out, shown);
    assert_int_equal(n, strlen(shown));
    assert_int_equal(lm_text_escape(NULL, 0, text), n);
}

static void what_a_terminal_obeys_is_escaped(void **state) {
    (void)state;
    expect("", "");
    expect("a bee, \"moving\" \\ '%s'", "a bee, \"moving\" \\ '%s'");
    expect("a\nb\tc\rd\be\f", "a\\nb\\tc\\rd\\be\\f");
    expect("\x1b]0;title\a\x1b[2J", "\\u001b]0;title\\u0007\\u001b[2J");
    expect("\x01\x1f\x7f", "\\u0001\\u001f\\u007f");
    expect("\xc2\x80\xc2\x9b"
           "31m\xc2\x9f\xc2\xa0",
           "\\u0080\\u009b31m\\u009f\xc2\xa0");
}

static void what_changes_how_others_look_is_escaped(void **state) {
    (void)state;
    expect("exe.\xe2\x80\xaegpj", "exe.\\u202egpj");
    expect("\xe2\x81\xa6\xe2\x81\xa9\xd8\x9c\xe2\x80\x8f", "\\u2066\\u2069\\u061c\\u200f");
    expect("\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xe2\x80\x8b", "\\u2028\\u2029\\ufeff\\u200b");
    expect("\xf3\xa0\x80\xa1", "\\udb40\\udc21"); // a tag: U+E0021, as JSON writes it
}

static void words_and_emoji_are_left_alone(void **state) {
    (void)state;
    static const char *const texts[] = {"\xc3\xa9t\xc3\xa9",
                                        "\xe8\x9c\x82",
                                        "\xd7\x93\xd7\x91",
                                        "\xf0\x9f\x90\x9d",
                                        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80" /* with a joiner */,
                                        "\xf4\x8f\xbf\xbf",
                                        "\xef\xbf\xbd"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) expect(texts[i], texts[i]);
}

static void bytes_that_are_no_utf8_are_escaped(void **state) {
    (void)state;
    expect("caf\xe9.mp4", "caf\\xe9.mp4");
    expect("\x80\xff\xc0\xaf", "\\x80\\xff\\xc0\\xaf");
    expect("\xe2\x82", "\\xe2\\x82"); // cut off
    expect("\xe2\x82z\xf0\x9f\x90", "\\xe2\\x82z\\xf0\\x9f\\x90");
    expect("\xed\xa0\x80", "\\xed\\xa0\\x80");          // a surrogate
    expect("\xe0\x80\x8a", "\\xe0\\x80\\x8a");          // too long a newline
    expect("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); // beyond U+10FFFF
    expect("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");
}

static void cuts_fall_between_characters(void **state) {
    (void)state;
    static const char text[] = "a\xc3\xa9\n\xf0\x9f\x90\x9d"; // shown in 1 + 2 + 2 + 4 bytes
    static const size_t kept[] = {0, 0, 1, 1, 3, 3, 5, 5, 5, 5, 9, 9};
    char out[16];
    for (size_t size = 1; size < sizeof kept / sizeof *kept; size++) {
        memset(out, '#', sizeof out);
        assert_int_equal(lm_text_escape(out, size, text), 9);
        assert_int_equal(strlen(out), kept[size]);
        assert_int_equal(out[size], '#');
    }
    // nothing after a piece that had no room
    assert_int_equal(lm_text_escape(out, 3, "a\nb"), 4);
    assert_string_equal(out, "a");
}

static void messages_are_one_line_of_utf8(void **state) {
    (void)state;
    lm_error e = {0};
    lm_fail(&e, LM_MODEL, "'%s': unknown key \"%s\"", "m/\x1b[31m.json", "a\nlumiere: all is well\xe2\x80\xae");
    assert_string_equal(e.text, "'m/\\u001b[31m.json': unknown key \"a\\nlumiere: all is well\\u202e\"");
    char name[2000], *p = name;
    while (p < name + 1500) p = stpcpy(p, "\xe8\x9c\x82"); // three bytes, of which 479 are no multiple, nor 1023
    lm_error_clear(&e);
    lm_fail(&e, LM_MODEL, "%s", name);
    assert_int_equal(strlen(e.text), 477);
    assert_int_equal(strncmp(e.text, name, 477), 0);
    lm_error_clear(&e);
    lm_fail(&e, LM_MODEL, "%.4s!", name); // cut by the format
    assert_string_equal(e.text, "\xe8\x9c\x82\\xe8!");
}

static void line_of(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line_of(char *out, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    lm_text_vline(out, size, format, args);
    va_end(args);
}

// Lines end with whole characters also where they are longer than what is formatted.
static void long_lines_are_cut(void **state) {
    (void)state;
    for (int first = 0; first < 4; first++) {
        char text[2048] = "", out[4096], *p = text + first;
        while (p < text + 1500) p = stpcpy(p, "\xf0\x9f\x90\x9d");
        memset(text, 'x', (size_t)first);
        line_of(out, sizeof out, "%s", text);
        size_t n = strlen(out);
        assert_int_equal((n - (size_t)first) % 4, 0);
        assert_in_range(n, 1020, 1023);
        assert_null(strchr(out, '\\'));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_terminal_obeys_is_escaped),
        cmocka_unit_test(what_changes_how_others_look_is_escaped),
        cmocka_unit_test(words_and_emoji_are_left_alone),
        cmocka_unit_test(bytes_that_are_no_utf8_are_escaped),
        cmocka_unit_test(cuts_fall_between_characters),
        cmocka_unit_test(messages_are_one_line_of_utf8),
        cmocka_unit_test(long_lines_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
