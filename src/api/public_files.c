// Whether a run's files get in each other's way: by what their names lead to, not by the names.
#include "api/done.h"

#include "base/memory.h"
#include "base/paths.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// One thing that a file of the run is made of: itself, the recipe beside it, what either is until it is complete.
typedef struct part {
    lm_file_id id;
    const lumiere_file *file;
    bool folder; // of frames: what lies in it counts as well
    bool inside; // not the thing, but the folder that holds it
} part;

typedef struct parts {
    part *at;
    int count;
} parts;

enum { MOST_PARTS = 5 }; // of a file

static lm_status add(lm_error *e, parts *p, const lumiere_file *f, char *path) {
    part *new = &p->at[p->count];
    *new = (part){.file = f};
    lm_status status = path ? lm_file_identify(e, path, &new->id) : lm_fail_memory(e, 4096, "a path");
    if (status == LM_OK && new->id.known) p->count++;
    lm_free(path);
    return status;
}

// The folder in which a file is written.
static lm_status add_holder(lm_error *e, parts *p, const lumiere_file *f) {
    int before = p->count;
    char *target = lm_path_follow(f->path);
    lm_status status = add(e, p, f, target ? lm_path_parent(target) : NULL);
    if (p->count > before) p->at[before].inside = true;
    lm_free(target);
    return status;
}

static lm_status add_file(lm_error *e, parts *p, const lumiere_file *f) {
    struct stat info;
    int before = p->count;
    bool folder = !stat(f->path, &info) && S_ISDIR(info.st_mode);
    LM_TRY(add(e, p, f, lm_strdup(f->path)));
    if (p->count > before) p->at[before].folder = folder;
    if (folder) return LM_OK;
    if (f->recipe) LM_TRY(add(e, p, f, lm_format("%s.json", f->path)));
    if (!f->written) return LM_OK;
    LM_TRY(add(e, p, f, lm_format("%s.part", f->path)));
    if (f->recipe) LM_TRY(add(e, p, f, lm_format("%s.json.part", f->path)));
    return add_holder(e, p, f);
}

static int by_id(const void *a, const void *b) {
    const part *x = a, *y = b;
    int order = lm_file_id_compare(&x->id, &y->id);
    return order ? order : x->inside - y->inside;
}

// At most a isn't the thing itself, but in it.
static lm_status compare(lm_error *e, const part *a, const part *b) {
    const lumiere_file *f = a->file, *g = b->file;
    if (f == g) return LM_OK;
    if (a->inside && b->folder)
        return lm_fail(e, LM_USAGE, "%.60s '%.120s' would be in the folder of frames of %.60s '%.120s'; name another",
                       f->what, f->path, g->what, g->path);
    if (a->inside || (!f->written && !g->written)) return LM_OK;
    if (!f->written || (g->written && g > f)) f = b->file, g = a->file;
    return lm_fail(e, LM_USAGE, "%.60s '%.120s' would be written over %.60s '%.120s'; name another file", f->what,
                   f->path, g->what, g->path);
}

static lm_status compare_all(lm_error *e, const lumiere_file *files, int count, parts *p) {
    for (int i = 0; i < count; i++) LM_TRY(add_file(e, p, &files[i]));
    qsort(p->at, (size_t)p->count, sizeof *p->at, by_id);
    for (int i = 0; i < p->count; i++) // in each group that is one thing: things first, then what lies in it
        for (int k = i + 1; !p->at[i].inside && k < p->count && !lm_file_id_compare(&p->at[i].id, &p->at[k].id); k++)
            LM_TRY(compare(e, &p->at[k], &p->at[i]));
    return LM_OK;
}

static lm_status check_files(lm_error *e, const lumiere_file *files, int count) {
    if (count < 1) return LM_OK;
    parts p = {.at = lm_alloc((size_t)count, MOST_PARTS * sizeof *p.at)};
    if (!p.at) return lm_fail_memory(e, (double)count * MOST_PARTS * sizeof *p.at, "the list of files");
    lm_status status = compare_all(e, files, count, &p);
    for (int i = 0; i < p.count; i++) lm_file_id_free(&p.at[i].id);
    lm_free(p.at);
    return status;
}

lumiere_status lumiere_files_check(lumiere_context *c, const lumiere_file *files, int count) {
    lm_error e = {0};
    return lm_api_done(c, check_files(&e, files, count), &e);
}
