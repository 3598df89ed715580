// Limits of control groups, read from made-up /proc and cgroup files of versions 1 and 2; and the limits on the
// process.
#include "base/cgroup.h"
#include "base/memory.h"
#include "base/threads.h"

#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static int make(void **state) {
    (void)state;
    strcpy(root, "/tmp/lumiere-cgroup-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

// ROOT/PATH with the text, and the folders above it.
static void put(const char *path, const char *text) {
    char full[PATH_MAX];
    assert_true(snprintf(full, sizeof full, "%s/%s", root, path) < PATH_MAX);
    for (char *slash = full + strlen(root); (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        mkdir(full, 0777);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#define PROC "proc/self/"
#define V2_MOUNT                                                                                                       \
    "27 1 254:0 / / rw - ext4 /dev/vda rw\n32 31 0:29 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
#define V1_MOUNTS                                                                                                      \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"                                      \
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:7 master:2 - cgroup cgroup rw,memory\n"                              \
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

static void expect(uint64_t memory, int processors) {
    assert_int_equal(lm_cgroup_memory_left(root), memory);
    assert_int_equal(lm_cgroup_processors(root), processors);
}

static void test_nothing_there(void **state) {
    (void)state;
    expect(UINT64_MAX, INT_MAX);
    put(PROC "cgroup", "0::/\n");
    expect(UINT64_MAX, INT_MAX);
    put(PROC "mountinfo", "22 27 0:21 / /proc rw - proc proc rw\nnonsense\n - \n1 2 - cgroup2\n");
    expect(UINT64_MAX, INT_MAX);
    put(PROC "mountinfo", V2_MOUNT);
    expect(UINT64_MAX, INT_MAX); // the root group has no limit files
    put(PROC "cgroup", "");
    expect(UINT64_MAX, INT_MAX);
}

static void put_v2(const char *group, const char *max, const char *high, const char *current, const char *stat) {
    static const char *const names[] = {"memory.max", "memory.high", "memory.current", "memory.stat"};
    const char *const texts[] = {max, high, current, stat};
    for (int i = 0; i < 4; i++) {
        char path[300];
        snprintf(path, sizeof path, "sys/fs/cgroup%s/%s", group, names[i]);
        if (texts[i]) put(path, texts[i]);
    }
}

// A slice's limit and the service's own: the narrower one counts, whichever it is.
static void test_version_2(void **state) {
    (void)state;
    put(PROC "mountinfo", V2_MOUNT);
    put(PROC "cgroup", "0::/a.slice/b.service\n");
    put_v2("/a.slice/b.service", "max\n", "max\n", "700\n", "inactive_file 500\n");
    put("sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n");
    expect(UINT64_MAX, INT_MAX);
    put_v2("/a.slice", "10000\n", "max\n", "4000\n", "anon 9\nactive_file 7\ninactive_file 1000\n");
    put("sys/fs/cgroup/a.slice/cpu.max", "250000 100000\n");
    expect(10000 - (4000 - 1000), 3);
    put_v2("/a.slice/b.service", "5000\n", NULL, "2000\n", "file 3\n");
    put("sys/fs/cgroup/a.slice/b.service/cpu.max", "50000 100000\n");
    expect(3000, 1);
    put_v2("/a.slice/b.service", NULL, "3000\n", NULL, NULL); // the softer bound is lower
    expect(1000, 1);
    put_v2("/a.slice/b.service", NULL, NULL, "9000\n", NULL); // more is in use than allowed
    expect(0, 1);
    put(PROC "cgroup", "0::/a.slice/gone (deleted)\n"); // its group's files are no more
    expect(7000, 3);
    put("sys/fs/cgroup/a.slice/cpu.max", "400000 100000\n");
    expect(7000, 4);
}

// Within a container: the group's name as the container sees it, the name on the host with a part of the tree mounted,
// and a name that is outside of what is mounted.
static void test_container(void **state) {
    (void)state;
    put("sys/fs/cgroup/memory.max", "6000\n");
    put("sys/fs/cgroup/memory.current", "1000\n");
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    put(PROC "mountinfo", V2_MOUNT);
    put(PROC "cgroup", "0::/\n");
    expect(5000, 2);
    put(PROC "mountinfo", "32 31 0:29 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
    put(PROC "cgroup", "0::/docker/c1\n");
    expect(5000, 2);
    put(PROC "cgroup", "0::/docker/c1/inner\n");
    put_v2("/inner", "2500\n", "max\n", "500\n", "inactive_file 0\n");
    expect(2000, 2);
    put(PROC "cgroup", "0::/docker/c1x/inner\n"); // not below /docker/c1
    expect(5000, 2);
    put(PROC "cgroup", "0::/../c2\n");
    expect(5000, 2);
    // of two mounts the one that holds the group, wherever it stands; a space in its name
    put(PROC "mountinfo", "30 1 0:29 /docker/c3 /else rw - cgroup2 cgroup rw\n"
                          "32 31 0:29 /docker /mnt/a\\040b rw - cgroup2 cgroup rw\n");
    put(PROC "cgroup", "0::/docker/c1\n");
    put("mnt/a b/c1/memory.max", "900\n");
    put("mnt/a b/c1/memory.current", "100\n");
    expect(800, INT_MAX);
}

static void put_v1(const char *group, const char *limit, const char *usage, const char *stat) {
    char path[300];
    snprintf(path, sizeof path, "sys/fs/cgroup/memory%s/memory.limit_in_bytes", group);
    put(path, limit);
    snprintf(path, sizeof path, "sys/fs/cgroup/memory%s/memory.usage_in_bytes", group);
    put(path, usage);
    snprintf(path, sizeof path, "sys/fs/cgroup/memory%s/memory.stat", group);
    put(path, stat);
}

static void put_quota(const char *group, const char *quota) {
    char path[300];
    snprintf(path, sizeof path, "sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", group);
    put(path, quota);
    snprintf(path, sizeof path, "sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", group);
    put(path, "100000\n");
}

// Version 1 with an empty version 2 beside it; each controller has a tree and a group of its own.
static void test_version_1(void **state) {
    (void)state;
    put(PROC "mountinfo", V1_MOUNTS);
    put(PROC "cgroup", "12:memory:/m/n\n4:cpu,cpuacct:/c/d\n3:cpuset:/\n1:name=systemd:/x\n0::/u\n");
    expect(UINT64_MAX, INT_MAX);
    put_v1("", "9223372036854771712\n", "123456\n", "");
    put_v1("/m", "20000\n", "9000\n", "cache 1\ninactive_file 1\ntotal_inactive_file 4000\n");
    put_v1("/m/n", "9223372036854771712\n", "8000\n", "total_inactive_file 0\n");
    put_quota("/c/d", "-1\n");
    put_quota("/c", "-1\n");
    expect(15000, INT_MAX);
    put_v1("/m/n", "10000\n", "8000\n", "total_inactive_file 500\n");
    put_quota("/c", "350000\n");
    expect(2500, 4);
    put_quota("/c/d", "10000\n");
    expect(2500, 1);
    put(PROC "cgroup", "12:cpu,memory:/m\n4:cpuacct:/c/d\n"); // "cpu" is not "cpuacct", nor the other way round
    expect(15000, INT_MAX);
}

// Memory under version 2, processors under version 1.
static void test_hybrid(void **state) {
    (void)state;
    put(PROC "mountinfo", V1_MOUNTS);
    put(PROC "cgroup", "4:cpu,cpuacct:/c\n0::/u\n");
    put_quota("/c", "200000\n");
    put("sys/fs/cgroup/unified/u/memory.max", "4096\n");
    put("sys/fs/cgroup/unified/u/memory.current", "96\n");
    expect(4000, 2);
}

// Lines and names longer than any buffer are passed over, not taken in parts.
static void test_long_lines(void **state) {
    (void)state;
    enum { LONG = 20000 };
    static char text[LONG + 1000];
    put_v2("/g", "1000\n", "max\n", "0\n", "");
    memset(text, ',', LONG);
    strcpy(text + LONG, "0::/wrong\n0::/g\n");
    put(PROC "cgroup", text);
    memset(text, 'x', LONG);
    strcpy(text + LONG, "32 31 0:29 / /wrong rw - cgroup2 cgroup2 rw\n" V2_MOUNT);
    put(PROC "mountinfo", text);
    expect(1000, INT_MAX);
    memset(text, 'x', LONG);
    memcpy(text, "0::/", 4);
    strcpy(text + LONG, "\n");
    put(PROC "cgroup", text);
    expect(UINT64_MAX, INT_MAX);
}

static void test_numbers(void **state) {
    (void)state;
    char path[100];
    put("numbers", "max\nSize:\t  12 kB\nSizes: 9\nabc 99999999999999999999999\nneg -1\n");
    snprintf(path, sizeof path, "%s/numbers", root);
    assert_int_equal(lm_number_in_file(path, "Size:"), 12);
    assert_int_equal(lm_number_in_file(path, "Sizes:"), 9);
    assert_int_equal(lm_number_in_file(path, "abc "), UINT64_MAX);
    assert_int_equal(lm_number_in_file(path, "neg "), UINT64_MAX);
    assert_int_equal(lm_number_in_file(path, "none"), UINT64_MAX);
    assert_int_equal(lm_number_in_file("/nowhere", NULL), UINT64_MAX);
}

static void put_in_group(const char *top, const char *group, const char *name, const char *text) {
    char path[2000];
    snprintf(path, sizeof path, "sys/fs/cgroup%s%s/%s", top, strcmp(group, "/") ? group : "", name);
    put(path, text);
}

// In a mount namespace of its own, with made-up files over /sys/fs/cgroup: 0 when the process's own group limits what
// is available, SKIPPED where a process may not do that.
enum { SKIPPED = 77 };
static int own_group_counts(void) {
    if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS)) return SKIPPED;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return SKIPPED;
    FILE *f = fopen("/proc/self/cgroup", "r");
    bool beside_v1 = !access("/sys/fs/cgroup/unified", F_OK);
    if (!f || mount("none", "/sys/fs/cgroup", "tmpfs", 0, NULL)) return SKIPPED;
    root[0] = 0;
    char line[1000];
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':') + 1, *group = strchr(list, ':') + 1;
        if (list + 1 == group) {
            put_in_group(beside_v1 ? "/unified" : "", group, "memory.max", "50000000\n");
            put_in_group(beside_v1 ? "/unified" : "", group, "memory.current", "20000000\n");
            put_in_group(beside_v1 ? "/unified" : "", group, "cpu.max", "100000 100000\n");
        } else if (!strncmp(list, "memory:", 7)) {
            put_in_group("/memory", group, "memory.limit_in_bytes", "50000000\n");
            put_in_group("/memory", group, "memory.usage_in_bytes", "20000000\n");
        }
    }
    fclose(f);
    if (lm_cgroup_memory_left("") == UINT64_MAX) return SKIPPED; // no control groups, or mounted elsewhere
    return lm_memory_available() <= 30000000 && lm_processors() == 1 ? 0 : 1;
}

static void test_own_group(void **state) {
    (void)state;
    int result;
    pid_t child = fork();
    if (child == 0) _exit(own_group_counts());
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    if (WEXITSTATUS(result) == SKIPPED) skip();
    assert_int_equal(WEXITSTATUS(result), 0);
}

#define IN_A_ROOT(test) cmocka_unit_test_setup_teardown(test, make, clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_A_ROOT(test_nothing_there), IN_A_ROOT(test_version_2),        IN_A_ROOT(test_container),
        IN_A_ROOT(test_version_1),     IN_A_ROOT(test_hybrid),           IN_A_ROOT(test_long_lines),
        IN_A_ROOT(test_numbers),       cmocka_unit_test(test_own_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
