// SHA-256 against the examples of FIPS 180-4 and NIST's CAVP.
#include "base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *expected, const lm_sha256 *state) {
    lm_sha256 s = *state;
    uint8_t digest[32];
    char text[65];
    lm_sha256_end(&s, digest);
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void test_examples(void **state) {
    (void)state;
    static const struct {
        const char *message, *digest;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"\xd3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqr"
         "stu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lm_sha256 s;
        lm_sha256_begin(&s);
        lm_sha256_add(&s, cases[i].message, strlen(cases[i].message));
        check(cases[i].digest, &s);
    }
}

// A million times "a", whatever the sizes of the pieces.
static void test_million(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 55, 56, 63, 64, 65, 127, 1000, 4096};
    static char as[4096];
    memset(as, 'a', sizeof as);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lm_sha256 s;
        lm_sha256_begin(&s);
        for (size_t left = 1000000; left > 0;) {
            size_t n = left < sizes[i] ? left : sizes[i];
            lm_sha256_add(&s, as, n);
            left -= n;
        }
        check("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", &s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples), cmocka_unit_test(test_million)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
