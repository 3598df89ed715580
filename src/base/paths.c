#include "base/paths.h"

#include "base/memory.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_LINKS = 40 }; // as the kernel's

char *lm_path_parent(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n ? lm_format("%.*s", (int)n, path) : lm_strdup(".");
}

// Where the link at leads that says to; frees at.
static char *follow_one(char *at, const char *to) {
    char *parent = lm_path_parent(at), *next = NULL;
    if (parent) next = *to == '/' ? lm_strdup(to) : lm_format("%s/%s", parent, to);
    lm_free(parent);
    lm_free(at);
    return next;
}

char *lm_path_follow(const char *path) {
    char *at = lm_strdup(path), to[PATH_MAX];
    for (int i = 0; at && i < MOST_LINKS; i++) { // a circle stays one, and fails when it is opened
        for (size_t n = strlen(at); n > 1 && at[n - 1] == '/';) at[--n] = 0;
        ssize_t n = readlink(at, to, sizeof to - 1);
        if (n < 0) break; // no link, or nothing at all
        to[n] = 0;
        at = follow_one(at, to);
    }
    return at;
}

static lm_status identify_absent(lm_error *e, const char *path, lm_file_id *out) {
    struct stat info;
    char *target = lm_path_follow(path), *parent = target ? lm_path_parent(target) : NULL;
    lm_status status = parent ? LM_OK : lm_fail_memory(e, (double)strlen(path), "a path");
    if (status == LM_OK && !stat(parent, &info)) {
        const char *slash = strrchr(target, '/');
        out->name = lm_strdup(slash ? slash + 1 : target);
        out->known = out->name != NULL;
        if (!out->name) status = lm_fail_memory(e, (double)strlen(path), "a path");
        out->device = info.st_dev;
        out->number = info.st_ino;
    }
    lm_free(target);
    lm_free(parent);
    return status;
}

lm_status lm_file_identify(lm_error *e, const char *path, lm_file_id *out) {
    struct stat info;
    *out = (lm_file_id){0};
    if (stat(path, &info)) return identify_absent(e, path, out);
    *out = (lm_file_id){.known = true, .device = info.st_dev, .number = info.st_ino};
    return LM_OK;
}

void lm_file_id_free(lm_file_id *id) {
    lm_free(id->name);
    *id = (lm_file_id){0};
}

int lm_file_id_compare(const lm_file_id *a, const lm_file_id *b) {
    if (a->device != b->device) return a->device < b->device ? -1 : 1;
    if (a->number != b->number) return a->number < b->number ? -1 : 1;
    return strcmp(a->name ? a->name : "", b->name ? b->name : "");
}
