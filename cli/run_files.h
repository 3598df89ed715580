// The files of a run, checked before anything is computed: each for itself, and none against another.
#pragma once
#include "commands.h"

typedef struct run_files {
    lumiere_file *files;
    lumiere_output_shape *shapes; // of those that are written
    int count, room;
    bool no_memory;
} run_files;

// what names the option or argument; a path that is NULL adds nothing.
void run_files_read(run_files *f, const char *what, const char *path);
void run_files_write(run_files *f, const char *what, const char *path, const lumiere_output_shape *shape);
// 0, or the exit code when something is wrong (and has been said). Empties the list.
int run_files_check(run_files *f, lumiere_context *c);
