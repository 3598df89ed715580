// Reading with a limit, and writing that leaves the old file or the new one and nothing beside it.
#include "base/files.h"
#include "base/memory.h"

#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int make_folder(void **state) {
    const char *base = getenv("TMPDIR");
    char *path = lm_format("%s/lumiere-test-XXXXXX", base ? base : "/tmp");
    *state = path;
    return path && mkdtemp(path) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

static int remove_folder(void **state) {
    int failed = nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    lm_free(*state);
    return failed;
}

// Entries of a folder besides . and ..
static int entries(const char *folder) {
    DIR *d = opendir(folder);
    int n = -2;
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void assert_failed(const lm_error *e, lm_status expected, lm_status found, const char *piece) {
    assert_int_equal(found, expected);
    assert_int_equal(e->status, expected);
    if (!strstr(e->text, piece)) fail_msg("'%s' is not in the message: %s", piece, e->text);
}

static void assert_content(const char *path, const char *text) {
    lm_error e = {0};
    uint8_t *bytes;
    size_t size;
    assert_int_equal(lm_file_read(&e, path, 1 << 20, LM_MEDIA, &bytes, &size), LM_OK);
    assert_int_equal(size, strlen(text));
    assert_string_equal((char *)bytes, text);
    lm_free(bytes);
}

static lm_status put(lm_error *e, const char *path, const char *text) {
    lm_file_writer *w;
    LM_TRY(lm_file_create(e, path, LM_MEDIA, &w));
    lm_file_append(e, w, text, strlen(text));
    return lm_file_commit(e, &w);
}

static void test_write_and_read(void **state) {
    char *path = lm_format("%s/whole", (char *)*state);
    lm_error e = {0};
    enum { SIZE = 300001 };
    uint8_t *before = lm_alloc(SIZE, 1), *after;
    for (int i = 0; i < SIZE; i++) before[i] = (uint8_t)(i * 31 + i / 251);
    for (size_t piece = 1; piece < 200000; piece = piece * 5 + 3) {
        lm_file_writer *w;
        size_t size;
        assert_int_equal(lm_file_create(&e, path, LM_MEDIA, &w), LM_OK);
        for (size_t i = 0; i < SIZE; i += piece)
            assert_int_equal(lm_file_append(&e, w, before + i, SIZE - i < piece ? SIZE - i : piece), LM_OK);
        assert_int_equal(lm_file_append(&e, w, NULL, 0), LM_OK);
        assert_int_equal(lm_file_commit(&e, &w), LM_OK);
        assert_null(w);
        assert_int_equal(lm_file_read(&e, path, SIZE, LM_MEDIA, &after, &size), LM_OK);
        assert_int_equal(size, SIZE);
        assert_memory_equal(before, after, SIZE);
        assert_int_equal(after[SIZE], 0);
        lm_free(after);
    }
    struct stat info;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0666 & ~mask);
    assert_int_equal(put(&e, path, ""), LM_OK);
    assert_content(path, "");
    assert_int_equal(entries(*state), 1);
    assert_int_equal(unlink(path), 0);
    lm_free(before);
    lm_free(path);
}

static void read_fails(const char *path, size_t limit, const char *piece) {
    lm_error e = {0};
    uint8_t *bytes = (void *)&e;
    size_t size = 9;
    assert_failed(&e, LM_MODEL, lm_file_read(&e, path, limit, LM_MODEL, &bytes, &size), piece);
    assert_null(bytes);
    assert_int_equal(size, 0);
}

static void test_read_failures(void **state) {
    char *path = lm_format("%s/five", (char *)*state), *none = lm_format("%s/none", (char *)*state);
    lm_error e = {0};
    assert_int_equal(put(&e, path, "12345"), LM_OK);
    assert_content(path, "12345");
    read_fails(path, 4, "five' has 5 bytes; at most 4 are allowed");
    read_fails(none, 4, "none': No such file");
    read_fails(*state, 4, "is a folder, not a file");
    read_fails("/proc/self/status", 10, "is larger than the 10 bytes allowed"); // says that it has 0 bytes
    uint8_t *bytes;
    size_t size;
    assert_int_equal(lm_file_read(&e, "/proc/self/status", 1 << 20, LM_MODEL, &bytes, &size), LM_OK);
    assert_true(size > 100 && strlen((char *)bytes) == size);
    lm_free(bytes);
    assert_int_equal(unlink(path), 0);
    lm_free(path);
    lm_free(none);
}

static void create_fails(const char *path, const char *piece) {
    lm_error e = {0};
    lm_file_writer *w = (void *)&e;
    assert_failed(&e, LM_MEDIA, lm_file_create(&e, path, LM_MEDIA, &w), piece);
    assert_null(w);
}

static void test_create_failures(void **state) {
    char *file = lm_format("%s/file", (char *)*state), *under = lm_format("%s/file/under", (char *)*state);
    char *nowhere = lm_format("%s/none/x", (char *)*state), *long_name = lm_alloc_zero(1, 400);
    lm_error e = {0};
    assert_int_equal(put(&e, file, "old"), LM_OK);
    create_fails(nowhere, "there is no folder");
    create_fails(under, "is not a folder");
    create_fails(*state, "it is a folder, not a file");
    create_fails("/dev/null", "it is a device or pipe, not a file");
    create_fails("", "a file without a name");
    memset(long_name, 'n', 300);
    create_fails(long_name, "File name too long");
    assert_content(file, "old");
    assert_int_equal(entries(*state), 1);
    assert_int_equal(unlink(file), 0);
    lm_free(file);
    lm_free(under);
    lm_free(nowhere);
    lm_free(long_name);
}

// A file system that takes no more: a limit on the size of files fails in the same places as a full disk.
static void test_full_disk(void **state) {
    char *path = lm_format("%s/full", (char *)*state);
    static char large[200000];
    lm_error e = {0};
    struct rlimit before, limit;
    assert_int_equal(put(&e, path, "old"), LM_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t size = 0; size <= 150000; size += 50000) {
        lm_file_writer *w;
        limit = (struct rlimit){size, before.rlim_max};
        assert_int_equal(lm_file_create(&e, path, LM_MEDIA, &w), LM_OK);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        lm_status first = lm_file_append(&e, w, large, sizeof large);
        lm_status second = lm_file_append(&e, w, "x", 1);
        lm_status last = lm_file_commit(&e, &w);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(first, LM_MEDIA);
        assert_int_equal(second, LM_MEDIA); // the first failure stays
        assert_failed(&e, LM_MEDIA, last, "full': File too large");
        lm_error_clear(&e);
        assert_content(path, "old");
        assert_int_equal(entries(*state), 1);
    }
    lm_file_writer *w; // little enough to be written only at the end
    limit = (struct rlimit){0, before.rlim_max};
    assert_int_equal(lm_file_create(&e, path, LM_MEDIA, &w), LM_OK);
    assert_int_equal(lm_file_append(&e, w, "new", 3), LM_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    lm_status last = lm_file_commit(&e, &w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_failed(&e, LM_MEDIA, last, "full': File too large");
    assert_content(path, "old");
    assert_int_equal(entries(*state), 1);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(unlink(path), 0);
    lm_free(path);
}

static void test_discard(void **state) {
    char *path = lm_format("%s/kept", (char *)*state);
    lm_error e = {0};
    lm_file_writer *w;
    assert_int_equal(put(&e, path, "old"), LM_OK);
    assert_int_equal(lm_file_create(&e, path, LM_MEDIA, &w), LM_OK);
    assert_int_equal(lm_file_append(&e, w, "new", 3), LM_OK);
    assert_content(path, "old"); // until it is committed
    lm_file_discard(&w);
    assert_null(w);
    lm_file_discard(&w);
    assert_content(path, "old");
    assert_int_equal(entries(*state), 1);
    assert_int_equal(unlink(path), 0);
    lm_free(path);
}

static void test_two_writers(void **state) {
    char *path = lm_format("%s/shared", (char *)*state);
    lm_error e = {0};
    lm_file_writer *w;
    assert_int_equal(lm_file_create(&e, path, LM_MEDIA, &w), LM_OK);
    create_fails(path, "another process is writing it");
    assert_int_equal(lm_file_append(&e, w, "first", 5), LM_OK);
    assert_int_equal(lm_file_commit(&e, &w), LM_OK);
    assert_content(path, "first");
    assert_int_equal(put(&e, path, "second"), LM_OK);
    assert_content(path, "second");
    assert_int_equal(entries(*state), 1);
    assert_int_equal(unlink(path), 0);
    lm_free(path);
}

// A process killed while writing leaves the old file; the next one to write leaves nothing of the first.
static void test_killed(void **state) {
    char *path = lm_format("%s/killed", (char *)*state);
    static const char large[200000];
    lm_error e = {0};
    assert_int_equal(put(&e, path, "old"), LM_OK);
    pid_t child = fork();
    if (child == 0) {
        lm_file_writer *w;
        if (lm_file_create(&e, path, LM_MEDIA, &w) == LM_OK && lm_file_append(&e, w, large, sizeof large) == LM_OK)
            raise(SIGKILL);
        _exit(1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL);
    assert_int_equal(entries(*state), 2);
    assert_content(path, "old");
    assert_int_equal(put(&e, path, "new"), LM_OK);
    assert_content(path, "new");
    assert_int_equal(entries(*state), 1);
    assert_int_equal(unlink(path), 0);
    lm_free(path);
}

// Someone else's link under the temporary name is not followed.
static void test_link(void **state) {
    char *path = lm_format("%s/a", (char *)*state), *link = lm_format("%s/a.part", (char *)*state);
    char *target = lm_format("%s/target", (char *)*state);
    lm_error e = {0};
    assert_int_equal(put(&e, target, "precious"), LM_OK);
    assert_int_equal(symlink(target, link), 0);
    create_fails(path, "can't write");
    assert_content(target, "precious");
    assert_int_equal(unlink(link), 0);
    assert_int_equal(unlink(target), 0);
    lm_free(path);
    lm_free(link);
    lm_free(target);
}

// What create refuses the check refuses in the same words; neither changes anything.
static void both_refuse(const char *folder, const char *path, const char *piece) {
    lm_error checked = {0}, created = {0};
    lm_file_writer *w = (void *)&checked;
    int before = entries(folder);
    assert_failed(&checked, LM_MEDIA, lm_file_check(&checked, path, LM_MEDIA), piece);
    assert_failed(&created, LM_MEDIA, lm_file_create(&created, path, LM_MEDIA, &w), piece);
    assert_null(w);
    assert_string_equal(checked.text, created.text);
    assert_int_equal(entries(folder), before);
}

static char *in(const char *folder, const char *name) {
    static char paths[8][1000];
    static int next;
    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

static void test_check(void **state) {
    const char *folder = *state;
    lm_error e = {0};
    char longest[260] = "";
    memset(longest, 'n', 251);
    assert_int_equal(mkfifo(in(folder, "pipe"), 0666), 0);
    assert_int_equal(mkfifo(in(folder, "b.part"), 0666), 0);
    assert_int_equal(mkdir(in(folder, "c.part"), 0777), 0);
    assert_int_equal(symlink("pipe", in(folder, "to-pipe")), 0);
    assert_int_equal(symlink("circle", in(folder, "circle")), 0);
    both_refuse(folder, "", "without a name");
    both_refuse(folder, folder, "it is a folder");
    both_refuse(folder, in(folder, "new/"), "folder");
    both_refuse(folder, in(folder, "pipe"), "a device or pipe");
    both_refuse(folder, in(folder, "to-pipe"), "a device or pipe");
    both_refuse(folder, in(folder, "circle"), "symbolic links");
    both_refuse(folder, "/dev/null", "a device or pipe");
    both_refuse(folder, in(folder, "b"), "b.part', its name until it is complete, is a device or pipe");
    both_refuse(folder, in(folder, "c"), "c.part', its name until it is complete, is a folder");
    both_refuse(folder, in(folder, "none/x"), "there is no folder");
    both_refuse(folder, in(folder, longest), "File name too long; until it is complete its name has 256 bytes");
    both_refuse(folder, "/proc/lumiere", "takes no files");
    longest[250] = 0;
    assert_int_equal(lm_file_check(&e, in(folder, longest), LM_MEDIA), LM_OK);
    if (geteuid()) { // permissions don't stop root
        assert_int_equal(put(&e, in(folder, "kept"), "old"), LM_OK);
        assert_int_equal(chmod(in(folder, "kept"), 0444), 0);
        both_refuse(folder, in(folder, "kept"), "Permission denied");
        assert_int_equal(unlink(in(folder, "kept")), 0);
    }
    const char *made[] = {"pipe", "b.part", "c.part", "to-pipe", "circle"};
    for (int i = 0; i < 5; i++) assert_int_equal(remove(in(folder, made[i])), 0);
    assert_int_equal(entries(folder), 0);
}

// A check is no writing: it leaves what is there, is stopped by one that writes, and stops nobody.
static void test_check_beside_a_writer(void **state) {
    const char *folder = *state, *path = in(folder, "a"), *part = in(folder, "a.part");
    lm_error e = {0};
    lm_file_writer *w;
    assert_int_equal(lm_file_create(&e, path, LM_MEDIA, &w), LM_OK);
    both_refuse(folder, path, "another process is writing it");
    lm_file_discard(&w);
    assert_int_equal(put(&e, part, "left by a killed process"), LM_OK);
    assert_int_equal(lm_file_check(&e, path, LM_MEDIA), LM_OK);
    assert_content(part, "left by a killed process");
    assert_int_equal(put(&e, path, "new"), LM_OK);
    assert_int_equal(lm_file_check(&e, path, LM_MEDIA), LM_OK);
    assert_content(path, "new");
    assert_int_equal(entries(folder), 1);
    assert_int_equal(unlink(path), 0);
}

// A link stays one, and the file where it leads is written.
static void test_target_of_a_link(void **state) {
    const char *folder = *state, *link = in(folder, "link"), *target = in(folder, "there/target");
    struct stat info;
    lm_error e = {0};
    assert_int_equal(mkdir(in(folder, "there"), 0777), 0);
    assert_int_equal(symlink("there/middle", link), 0);
    assert_int_equal(symlink("target", in(folder, "there/middle")), 0);
    for (int i = 0; i < 2; i++) { // where nothing is, and over a file
        assert_int_equal(lm_file_check(&e, link, LM_MEDIA), LM_OK);
        assert_int_equal(put(&e, link, i ? "second" : "first"), LM_OK);
        assert_content(target, i ? "second" : "first");
        assert_true(!lstat(link, &info) && S_ISLNK(info.st_mode));
        assert_int_equal(entries(in(folder, "there")), 2);
    }
    const char *made[] = {"link", "there/middle", "there/target", "there"};
    for (int i = 0; i < 4; i++) assert_int_equal(remove(in(folder, made[i])), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_check_beside_a_writer),
        cmocka_unit_test(test_target_of_a_link),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_read_failures),
        cmocka_unit_test(test_create_failures),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_link),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
