// SHA-256 against the examples of FIPS 180-4 and NIST's CAVP, of bytes and of files.
#include "store/file_digest.h"

#include "base/memory.h"
#include "store_test.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#define MILLION "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" // times "a"

static void check_bytes(const char *expected, const uint8_t digest[LM_DIGEST_BYTES]) {
    char text[2 * LM_DIGEST_BYTES + 1];
    for (int i = 0; i < LM_DIGEST_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static void check_digest(const char *expected, lm_digest **d) {
    lm_error e = {0};
    uint8_t digest[LM_DIGEST_BYTES];
    assert_status(&e, LM_OK, lm_digest_end(&e, d, digest));
    assert_null(*d);
    check_bytes(expected, digest);
}

static void examples_of_the_standard(void **state) {
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
        lm_digest *d = lm_digest_begin();
        lm_digest_add(d, cases[i].message, strlen(cases[i].message));
        check_digest(cases[i].digest, &d);
    }
}

// A million times "a", whatever the sizes of the pieces.
static void a_million_in_pieces_of_any_size(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 55, 56, 63, 64, 65, 127, 1000, 4096};
    static char as[4096];
    memset(as, 'a', sizeof as);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lm_digest *d = lm_digest_begin();
        for (size_t left = 1000000; left > 0;) {
            size_t n = left < sizes[i] ? left : sizes[i];
            lm_digest_add(d, as, n);
            left -= n;
        }
        check_digest(MILLION, &d);
    }
}

// More than is read at once, and a file of nothing.
static void files(void **state) {
    lm_error e = {0};
    uint8_t digest[LM_DIGEST_BYTES];
    char text[LM_DIGEST_TEXT], *path = in_folder(*state, "as"), *as = lm_alloc(1000000, 1);
    assert_non_null(as);
    memset(as, 'a', 1000000);
    write_bytes(path, as, 1000000);
    assert_status(&e, LM_OK, lm_file_digest(&e, path, digest));
    check_bytes(MILLION, digest);
    lm_digest_text(digest, text);
    assert_string_equal(text, "cdc76e5c9914fb92");
    write_bytes(path, "", 0);
    assert_status(&e, LM_OK, lm_file_digest(&e, path, digest));
    check_bytes("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", digest);
    lm_free(path);
    lm_free(as);
}

static void what_cannot_be_read_is_said(void **state) {
    lm_error e = {0};
    uint8_t digest[LM_DIGEST_BYTES];
    char *path = in_folder(*state, "absent");
    assert_status(&e, LM_MODEL, lm_file_digest(&e, path, digest));
    assert_message(&e, "absent': No such file");
    lm_error_clear(&e);
    assert_status(&e, LM_MODEL, lm_file_digest(&e, *state, digest)); // a folder opens, and doesn't read
    assert_message(&e, "Is a directory");
    lm_free(path);
}

// As when begin had no memory: nothing is lost, and end says why.
static void no_digest_is_a_shortage_of_memory(void **state) {
    (void)state;
    lm_error e = {0};
    uint8_t digest[LM_DIGEST_BYTES];
    lm_digest *d = NULL;
    lm_digest_add(d, "abc", 3);
    assert_status(&e, LM_MEMORY, lm_digest_end(&e, &d, digest));
    assert_message(&e, "SHA-256");
}

// The list of OpenSSL's errors belongs to the program that uses the library.
static void errors_of_others_are_left_alone(void **state) {
    (void)state;
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 7);
    lm_digest *d = lm_digest_begin();
    lm_digest_add(d, "abc", 3);
    check_digest("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", &d);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 7);
    assert_int_equal(ERR_get_error(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_standard),
        cmocka_unit_test(a_million_in_pieces_of_any_size),
        cmocka_unit_test_setup_teardown(files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_said, make_folder, remove_folder),
        cmocka_unit_test(no_digest_is_a_shortage_of_memory),
        cmocka_unit_test(errors_of_others_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
