#include "run_files.h"

#include <stdlib.h>
#include <string.h>

static bool make_room(run_files *f) {
    if (f->count < f->room) return true;
    int room = f->room ? 2 * f->room : 8;
    lumiere_file *files = realloc(f->files, (size_t)room * sizeof *files);
    if (files) f->files = files;
    lumiere_output_shape *shapes = realloc(f->shapes, (size_t)room * sizeof *shapes);
    if (shapes) f->shapes = shapes;
    if (files && shapes) f->room = room;
    return files && shapes;
}

static void add(run_files *f, const lumiere_file *file, const lumiere_output_shape *shape) {
    char *path = make_room(f) ? strdup(file->path) : NULL;
    if (!path) {
        f->no_memory = true;
        return;
    }
    f->files[f->count] = *file;
    f->files[f->count].path = path;
    f->shapes[f->count++] = *shape;
}

void run_files_read(run_files *f, const char *what, const char *path) {
    const lumiere_file file = {.what = what, .path = path, .recipe = true};
    if (path) add(f, &file, &(lumiere_output_shape){0});
}

void run_files_write(run_files *f, const char *what, const char *path, const lumiere_output_shape *shape) {
    const lumiere_file file = {.what = what, .path = path, .written = true, .recipe = shape->recipe};
    if (path) add(f, &file, shape);
}

int run_files_check(run_files *f, lumiere_context *c) {
    int code = f->no_memory ? complain(4, "no memory") : 0;
    lumiere_status status = code ? LUMIERE_OK : lumiere_files_check(c, f->files, f->count);
    for (int i = 0; i < f->count && !code && status == LUMIERE_OK; i++)
        if (f->files[i].written) status = lumiere_output_check_for(c, f->files[i].path, &f->shapes[i]);
    if (status != LUMIERE_OK) code = report_failure(c, status);
    for (int i = 0; i < f->count; i++) free((char *)f->files[i].path);
    free(f->files);
    free(f->shapes);
    *f = (run_files){0};
    return code;
}
