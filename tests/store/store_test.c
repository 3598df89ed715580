#include "store_test.h"

#include "base/memory.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int make_folder(void **state) {
    const char *base = getenv("TMPDIR");
    char *path = lm_format("%s/lumiere-test-XXXXXX", base ? base : "/tmp");
    *state = path;
    return path && mkdtemp(path) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

int remove_folder(void **state) {
    int failed = nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    lm_free(*state);
    return failed;
}

char *in_folder(const char *folder, const char *name) {
    char *path = lm_format("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

void write_text(const char *path, const char *text) {
    write_bytes(path, text, strlen(text));
}

void assert_content(const char *path, const char *text) {
    char found[4096];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(found, 1, sizeof found - 1, f);
    fclose(f);
    found[n] = 0;
    assert_string_equal(found, text);
}

void assert_status(const lm_error *e, lm_status expected, lm_status found) {
    if (found != expected) fail_msg("status %d instead of %d: %s", found, expected, e->text);
    assert_int_equal(e->status, expected);
}

void assert_message(const lm_error *e, const char *piece) {
    if (!strstr(e->text, piece)) fail_msg("'%s' is not in the message: %s", piece, e->text);
    if (strchr(e->text, '\n')) fail_msg("more than one line: %s", e->text);
}
