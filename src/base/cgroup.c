#include "base/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A line without its newline. Of one that doesn't fit its beginning is kept and the rest left out.
static bool next_line(FILE *f, char *line, int size) {
    if (!fgets(line, size, f)) return false;
    size_t n = strlen(line);
    if (n > 0 && line[n - 1] == '\n') {
        line[n - 1] = 0;
    } else {
        for (int c; (c = getc(f)) != EOF && c != '\n';) {
        }
    }
    return true;
}

uint64_t lm_number_in_file(const char *path, const char *key) {
    FILE *f = fopen(path, "re");
    if (!f) return UINT64_MAX;
    char line[256];
    uint64_t value = UINT64_MAX;
    size_t n = key ? strlen(key) : 0;
    while (value == UINT64_MAX && next_line(f, line, sizeof line)) {
        if (key && strncmp(line, key, n) != 0) continue;
        const char *digits = line + n + strspn(line + n, " \t");
        if (*digits >= '0' && *digits <= '9') value = strtoull(digits, NULL, 10);
    }
    fclose(f);
    return value;
}

// Whether word is one of a list with commas between.
static bool is_listed(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (!strncmp(p, word, n) && (p[n] == ',' || !p[n])) return true;
    return false;
}

// The process's group in the hierarchy of a controller, "/a/b"; controller NULL: version 2's. Lines of
// /proc/self/cgroup are NUMBER:CONTROLLERS:PATH, with no controllers for version 2 (cgroups(7)).
static bool find_group(const char *root, const char *controller, char *group, size_t size) {
    char path[PATH_MAX], line[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool found = false;
    while (!found && next_line(f, line, sizeof line)) {
        char *list = strchr(line, ':'), *name = list ? strchr(list + 1, ':') : NULL;
        if (!name || name[1] != '/') continue;
        *name++ = 0;
        found = controller ? is_listed(list + 1, controller) : !list[1];
        if (found) found = (size_t)snprintf(group, size, "%s", name) < size;
    }
    fclose(f);
    return found;
}

// Spaces and the like stand as \ooo in mountinfo.
static void unescape(char *s) {
    char *to = s;
    for (; *s; to++) {
        bool octal = s[0] == '\\' && strspn(s + 1, "01234567") >= 3;
        *to = octal ? (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0') : *s;
        s += octal ? 4 : 1;
    }
    *to = 0;
}

// Group "/a/b" below the mount's root "/a": "/b". NULL when it lies elsewhere.
static const char *below(const char *group, const char *top) {
    size_t n = strcmp(top, "/") ? strlen(top) : 0;
    if (strncmp(group, top, n) != 0 || (group[n] && group[n] != '/')) return NULL;
    return strcmp(group + n, "/") ? group + n : "";
}

// Where a group's files are: the folder of the hierarchy's topmost group that is mounted, and the way down from there.
typedef struct group_place {
    char folder[2 * PATH_MAX];
    size_t top; // length of the mount point
} group_place;

// A line of mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS [...] - TYPE SOURCE OPTIONS (proc_pid_mountinfo(5)).
// 0: not a mount of this hierarchy; 1: one that doesn't hold the group; 2: one that does.
static int read_mount(const char *root, char *line, const char *controller, const char *group, group_place *out) {
    char *end = strstr(line, " - "), *fields[5], *type, *options, *rest;
    if (!end) return 0;
    *end = 0;
    type = strtok_r(end + 3, " ", &rest);
    strtok_r(NULL, " ", &rest);
    options = strtok_r(NULL, " ", &rest);
    if (!type || !options || strcmp(type, controller ? "cgroup" : "cgroup2") != 0) return 0;
    if (controller && !is_listed(options, controller)) return 0;
    for (int i = 0; i < 5; i++)
        if (!(fields[i] = strtok_r(i ? NULL : line, " ", &rest))) return 0;
    unescape(fields[3]);
    unescape(fields[4]);
    const char *way = below(group, fields[3]);
    int top = snprintf(out->folder, sizeof out->folder, "%s%s", root, fields[4]);
    if (top < 0 || (size_t)top + strlen(way ? way : "") >= sizeof out->folder) return 0;
    out->top = (size_t)top;
    strcpy(out->folder + top, way ? way : "");
    return way ? 2 : 1;
}

// In a container the group's name may be the host's while only a part of the tree is mounted: where no mount holds the
// name, the group at the first mount point is taken for it.
static bool find_place(const char *root, const char *controller, group_place *out) {
    char group[PATH_MAX], path[PATH_MAX], line[2 * PATH_MAX + 512];
    if (!find_group(root, controller, group, sizeof group)) return false;
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    int best = 0;
    while (best < 2 && next_line(f, line, sizeof line)) {
        group_place place;
        int kind = read_mount(root, line, controller, group, &place);
        if (kind <= best) continue;
        best = kind;
        *out = place;
    }
    fclose(f);
    return best > 0;
}

static bool go_up(group_place *p) {
    if (strlen(p->folder) <= p->top) return false;
    *strrchr(p->folder, '/') = 0;
    return true;
}

static uint64_t number_of(const group_place *p, const char *name, const char *key) {
    char path[sizeof p->folder + 64];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return lm_number_in_file(path, key);
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t left_of(uint64_t limit, uint64_t used, uint64_t droppable) {
    if (limit == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
    if (droppable != UINT64_MAX) used -= smaller(droppable, used);
    return limit > used ? limit - used : 0;
}

uint64_t lm_cgroup_memory_left(const char *root) {
    uint64_t left = UINT64_MAX;
    group_place p;
    for (bool more = find_place(root, NULL, &p); more; more = go_up(&p)) {
        uint64_t limit = smaller(number_of(&p, "memory.max", NULL), number_of(&p, "memory.high", NULL));
        if (limit == UINT64_MAX) continue;
        left = smaller(left, left_of(limit, number_of(&p, "memory.current", NULL),
                                     number_of(&p, "memory.stat", "inactive_file ")));
    }
    for (bool more = find_place(root, "memory", &p); more; more = go_up(&p)) {
        uint64_t limit = number_of(&p, "memory.limit_in_bytes", NULL); // without one: nearly 2^63
        if (limit == UINT64_MAX) continue;
        left = smaller(left, left_of(limit, number_of(&p, "memory.usage_in_bytes", NULL),
                                     number_of(&p, "memory.stat", "total_inactive_file ")));
    }
    return left;
}

static int processors_of(uint64_t quota, uint64_t period) {
    if (quota == 0 || quota > INT64_MAX || period == 0 || period > INT64_MAX) return INT_MAX;
    uint64_t n = quota / period + (quota % period != 0);
    return n < INT_MAX ? (int)n : INT_MAX;
}

// "QUOTA PERIOD", the quota "max" for none.
static int read_cpu_max(const group_place *p) {
    char path[sizeof p->folder + 64];
    snprintf(path, sizeof path, "%s/cpu.max", p->folder);
    unsigned long long quota, period;
    FILE *f = fopen(path, "re");
    bool limited = f && fscanf(f, "%llu %llu", &quota, &period) == 2;
    if (f) fclose(f);
    return limited ? processors_of(quota, period) : INT_MAX;
}

int lm_cgroup_processors(const char *root) {
    int most = INT_MAX;
    group_place p;
    for (bool more = find_place(root, NULL, &p); more; more = go_up(&p)) {
        int n = read_cpu_max(&p);
        if (n < most) most = n;
    }
    for (bool more = find_place(root, "cpu", &p); more; more = go_up(&p)) { // the quota is -1 for none
        int n = processors_of(number_of(&p, "cpu.cfs_quota_us", NULL), number_of(&p, "cpu.cfs_period_us", NULL));
        if (n < most) most = n;
    }
    return most;
}
