#include "base/status.h"

#include <stdio.h>

lm_status lm_fail(lm_error *e, lm_status status, const char *format, ...) {
    if (e && e->status == LM_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(e->text, sizeof e->text, format, args);
        va_end(args);
        for (char *p = e->text; *p; p++)
            if ((unsigned char)*p < ' ') *p = ' '; // one line, whatever a file's name or a library's message holds
        e->status = status;
    }
    return status;
}

lm_status lm_fail_memory(lm_error *e, double bytes, const char *what) {
    return lm_fail(e, LM_MEMORY, "no memory: %s needs %.1f MB more", what, bytes / 1e6);
}

void lm_error_clear(lm_error *e) {
    e->status = LM_OK;
    e->text[0] = 0;
}
