// What a path is a name of.
#include "base/paths.h"

#include "base/memory.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int enter_folder(void **state) {
    const char *base = getenv("TMPDIR");
    char *path = lm_format("%s/lumiere-test-XXXXXX", base ? base : "/tmp");
    *state = path;
    return path && mkdtemp(path) && !chdir(path) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

static int leave_folder(void **state) {
    int failed = chdir("/") || nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    lm_free(*state);
    return failed;
}

static void make_file(const char *path) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
}

static void parents(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"a", "."},   {"a/b", "a"},        {"/a", "/"},  {"/", "/"}, {"a//b//", "a"},
                                           {"./a", "."}, {"../a/b/", "../a"}, {"//a", "/"}, {"", "."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *parent = lm_path_parent(cases[i][0]);
        assert_string_equal(parent, cases[i][1]);
        lm_free(parent);
    }
}

static bool same(const char *a, const char *b) {
    lm_error e = {0};
    lm_file_id x, y;
    assert_int_equal(lm_file_identify(&e, a, &x), LM_OK);
    assert_int_equal(lm_file_identify(&e, b, &y), LM_OK);
    assert_true(x.known && y.known);
    int order = lm_file_id_compare(&x, &y);
    assert_int_equal(order > 0, lm_file_id_compare(&y, &x) < 0);
    lm_file_id_free(&x);
    lm_file_id_free(&y);
    return order == 0;
}

static void one_thing_under_many_names(void **state) {
    char absolute[1000];
    snprintf(absolute, sizeof absolute, "%s/there", (char *)*state);
    make_file("there");
    assert_int_equal(mkdir("folder", 0777), 0);
    assert_int_equal(symlink("there", "link"), 0);
    assert_int_equal(symlink("link", "link-to-link"), 0);
    assert_int_equal(symlink("folder", "way"), 0);
    assert_int_equal(symlink("folder/absent", "to-absent"), 0);
    assert_int_equal(link("there", "hard"), 0);
    static const char *const names[] = {"there", "./there", "folder/../there", "link", "link-to-link", "hard"};
    for (int i = 0; i < 6; i++) assert_true(same(names[i], absolute));
    assert_true(same("folder", "way/"));
    assert_true(same("absent", "way/../absent"));
    assert_true(same("folder/absent", "way/absent"));
    assert_true(same("folder/absent", "to-absent"));
    assert_true(same("absent", "absent/"));
    assert_false(same("absent", "folder/absent"));
    assert_false(same("absent", "other"));
    assert_false(same("there", "folder"));
    assert_false(same("folder", "folder/absent")); // the folder itself, and a name in it
}

static void nothing_at_all(void **state) {
    (void)state;
    lm_error e = {0};
    lm_file_id id;
    assert_int_equal(lm_file_identify(&e, "no/such/folder", &id), LM_OK);
    assert_false(id.known);
    lm_file_id_free(&id);
    assert_int_equal(symlink("round", "round"), 0);
    assert_int_equal(lm_file_identify(&e, "round", &id), LM_OK);
    lm_file_id_free(&id);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parents),
        cmocka_unit_test(one_thing_under_many_names),
        cmocka_unit_test(nothing_at_all),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
