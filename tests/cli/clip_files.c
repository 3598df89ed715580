#include "cli/clip_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

lm_clip read_clip(const char *folder, const char *name) {
    char path[512];
    lm_error e = {0};
    lm_clip c;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (lm_media_read(&e, path, 0, &c) != LM_OK) fail_msg("%s", e.text);
    return c;
}

void write_clip(const lm_clip *c, const char *path) {
    lm_error e = {0};
    if (lm_media_write(&e, path, c, NULL) != LM_OK) fail_msg("%s", e.text);
}
