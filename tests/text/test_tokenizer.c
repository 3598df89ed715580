// The tokeniser against Hugging Face's (tests/oracle/text_vectors.py), its lost words, and what it refuses.
#include "base/memory.h"
#include "text/tokenizer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define VOCABULARY LM_SOURCE_DIR "/models/emoji/text/vocab.txt"
#define SPECIALS "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
enum { ROOM = 1024 };

static int open_vocabulary(void **state) {
    return lm_tokenizer_open(NULL, VOCABULARY, (lm_tokenizer **)state) == LM_OK ? 0 : -1;
}

static int close_vocabulary(void **state) {
    lm_tokenizer_free((lm_tokenizer **)state);
    return 0;
}

// ids cut to length as BERT's tokeniser cuts: the last one stays [SEP].
static void check_ids(const lm_tokenizer *t, const char *text, const json_t *want, int length) {
    int32_t ids[ROOM];
    int used, full = (int)json_array_size(want);
    int64_t lost;
    lm_error e = {0};
    assert_int_equal(lm_tokenizer_encode(&e, t, text, length, ids, &used, &lost), LM_OK);
    int count = full < length ? full : length;
    if (used != count) fail_msg("\"%s\": %d tokens, not %d", text, used, count);
    for (int i = 0; i < length; i++) {
        int id = i >= count ? 0 : (int)json_integer_value(json_array_get(want, i == count - 1 ? full - 1 : i));
        if (ids[i] != id) fail_msg("\"%s\": token %d is %d, not %d", text, i, ids[i], id);
    }
    assert_int_equal(lost >= 0, full > length);
}

static void test_same_ids(void **state) {
    json_t *rows = json_load_file(LM_TEST_DATA "/text/tokens.json", 0, NULL);
    assert_true(json_array_size(rows) >= 200);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *text = json_string_value(json_object_get(row, "text"));
        assert_non_null(text);
        check_ids(*state, text, json_object_get(row, "ids"), ROOM);
        check_ids(*state, text, json_object_get(row, "ids"), 32);
        check_ids(*state, text, json_object_get(row, "ids"), 5);
    }
    json_decref(rows);
}

static void test_lost(void **state) {
    static const struct {
        const char *text;
        int length;
        int64_t lost;
    } cases[] = {
        {"", 2, -1},
        {"a cat sat", 5, -1},
        {"a cat sat", 4, 6},
        {"a cat sat", 3, 2},
        {"a cat sat", 2, 0},
        {"  a  cat\tsat ", 4, 9},
        {"a cat isn't here", 6, 6}, // isn ' t: the word as written is not wholly inside
        {"a cat isn't here", 7, 12},
        {"a fluorescently lit cat", 4, 2}, // only its first pieces are inside
        {"日本語 猫", 4, 6},               // ideographs are words
        {"日本語 猫", 5, 10},
        {"a \u0301 cat", 3, 5}, // a lone accent is no word
        {"a [MASK][MASK]", 4, 8},
        {"cat\u200d sat \u00e9t\u00e9", 4, 11},
        {"one two\u00ad three", 4, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[16];
        int used;
        int64_t lost;
        assert_int_equal(lm_tokenizer_encode(NULL, *state, cases[i].text, cases[i].length, ids, &used, &lost), LM_OK);
        if (lost != cases[i].lost) fail_msg("\"%s\": lost %lld", cases[i].text, (long long)lost);
        assert_int_equal(lm_tokenizer_encode(NULL, *state, cases[i].text, cases[i].length, ids, &used, NULL), LM_OK);
    }
}

static void check_refused(const lm_tokenizer *t, const char *text, int length, const char *message) {
    int32_t ids[32];
    int used;
    lm_error e = {0};
    assert_int_equal(lm_tokenizer_encode(&e, t, text, length, ids, &used, NULL), LM_USAGE);
    assert_non_null(strstr(e.text, message));
    assert_null(strchr(e.text, '\n'));
}

static void test_bad_text(void **state) {
    static const char *const invalid[] = {"ab\xff",         "ab\xc0\x80",         "ab\xe2\x82",
                                          "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80", "ab\x80"};
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        check_refused(*state, invalid[i], 32, "not valid UTF-8 at byte 3");
    char *text = lm_alloc(20001, 1);
    memset(text, 'a', 20000);
    text[20000] = 0;
    check_refused(*state, text, 32, "too long; use less than 10000");
    text[10000] = 0;
    check_refused(*state, text, 32, "too long; use less than 10000");
    text[9999] = 0;
    int32_t ids[3];
    int used;
    assert_int_equal(lm_tokenizer_encode(NULL, *state, text, 3, ids, &used, NULL), LM_OK);
    assert_int_equal(ids[1], 100); // one word that is too long: [UNK]
    lm_free(text);
    check_refused(*state, "cat", 1, "use 2 or more");
}

static const struct defect {
    const char *bytes;
    const char *message;
} defects[] = {
    {"", "empty; a vocabulary has one token a line"},
    {SPECIALS "cat", "the file may be truncated"},
    {SPECIALS "cat\n\ndog\n", "line 7 is empty"},
    {SPECIALS "cat\ndog\ncat\n", "line 8 repeats line 6"},
    {SPECIALS "[UNK]\n", "line 6 repeats line 2"},
    {SPECIALS "c\xff\n", "line 6 is not valid UTF-8 at its byte 2"},
    {SPECIALS "\xed\xa0\x80\n", "line 6 is not valid UTF-8 at its byte 1"},
    {SPECIALS "\xc1\xa1\n", "line 6 is not valid UTF-8"},
    {"\xef\xbb\xbf" SPECIALS, "line 1 has a byte order mark"},
    {"[PAD]\r\n[UNK]\r\n", "line 1 has a carriage return"},
    {SPECIALS "a cat\n", "line 6 has U+0020; a token holds no white space"},
    {SPECIALS "a\u2028b\n", "line 6 has U+2028"},
    {SPECIALS "a\x01\n", "line 6 has U+0001"},
    {"[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "no line is [PAD]"},
    {"[PAD]\n[CLS]\n[SEP]\n[MASK]\n", "no line is [UNK]"},
    {"[PAD]\n[UNK]\n[SEP]\n[MASK]\n", "no line is [CLS]"},
    {"[PAD]\n[UNK]\n[CLS]\n[MASK]\n", "no line is [SEP]"},
    {"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "no line is [MASK]"},
};

static void check_defect(const uint8_t *bytes, size_t size, const char *message) {
    lm_error e = {0};
    lm_tokenizer *t;
    assert_int_equal(lm_tokenizer_parse(&e, "v.txt", bytes, size, &t), LM_MODEL);
    assert_null(t);
    assert_non_null(strstr(e.text, "v.txt"));
    if (!strstr(e.text, message)) fail_msg("\"%s\" does not say \"%s\"", e.text, message);
}

static void test_defects(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof defects / sizeof *defects; i++)
        check_defect((const uint8_t *)defects[i].bytes, strlen(defects[i].bytes), defects[i].message);
    check_defect((const uint8_t *)SPECIALS "a\0b\n", sizeof SPECIALS + 3, "line 6 has U+0000");
}

static void test_large_defects(void **state) {
    (void)state;
    size_t size = (16u << 20) + 1;
    uint8_t *bytes = lm_alloc(size, 1);
    memset(bytes, 'a', size);
    check_defect(bytes, size, "a vocabulary has at most 16777216");
    bytes[300] = '\n';
    check_defect(bytes, 301, "line 1 has 300 bytes; a token has at most 256");
    bytes[300] = 'a';
    for (size_t i = 1; i < size; i += 2) bytes[i] = '\n';
    check_defect(bytes, 2 * ((1u << 20) + 1), "1048577 tokens; at most 1048576");
    lm_free(bytes);
}

static void test_bad_path(void **state) {
    (void)state;
    static const char *const paths[] = {LM_TEST_DATA "/text/absent.txt", LM_TEST_DATA};
    for (int i = 0; i < 2; i++) {
        lm_error e = {0};
        lm_tokenizer *t;
        assert_int_equal(lm_tokenizer_open(&e, paths[i], &t), LM_MODEL);
        assert_null(t);
        assert_non_null(strstr(e.text, paths[i]));
    }
}

// A vocabulary of which each piece of the longest match counts, and a word that runs into a dead end.
static void test_longest_match(void **state) {
    (void)state;
    static const char vocabulary[] = SPECIALS "ab\nabc\n##d\n##de\n##\nx\n##yz\n";
    lm_tokenizer *t;
    assert_int_equal(lm_tokenizer_parse(NULL, "v", (const uint8_t *)vocabulary, sizeof vocabulary - 1, &t), LM_OK);
    assert_int_equal(lm_tokenizer_size(t), 12);
    int32_t ids[11];
    int used;
    assert_int_equal(lm_tokenizer_encode(NULL, t, "abcde AB abd xy xyz", 11, ids, &used, NULL), LM_OK);
    // abc ##de, ab, ab ##d, [UNK] as no token is ##y, x ##yz
    static const int32_t want[] = {2, 6, 8, 5, 5, 7, 1, 10, 11, 3, 0};
    assert_memory_equal(ids, want, sizeof ids);
    assert_int_equal(used, 10);
    lm_tokenizer_free(&t);
    assert_null(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_ids),      cmocka_unit_test(test_lost),          cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_defects),       cmocka_unit_test(test_large_defects), cmocka_unit_test(test_bad_path),
        cmocka_unit_test(test_longest_match),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
