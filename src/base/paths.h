// Names of files, and what they are names of whatever links lie on the way.
#pragma once
#include "base/status.h"
#include <stdbool.h>
#include <sys/types.h>

// Both NULL when memory is short; free with lm_free.
char *lm_path_parent(const char *path); // the folder that holds path, which may end in slashes
// path without slashes at its end; where it leads, when it is a link, whether there is something or not.
char *lm_path_follow(const char *path);

// What path names: the file that is there, or else a name in a folder.
typedef struct lm_file_id {
    bool known; // false: there isn't even a folder
    dev_t device;
    ino_t number; // of the file, or of the folder
    char *name;   // in the folder; NULL for a file that is there
} lm_file_id;
lm_status lm_file_identify(lm_error *e, const char *path, lm_file_id *out); // LM_MEMORY at most
void lm_file_id_free(lm_file_id *id);
int lm_file_id_compare(const lm_file_id *a, const lm_file_id *b); // 0: the same; an order for sorting
