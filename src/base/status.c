#include "base/status.h"

#include "base/plain_text.h"

lm_status lm_fail(lm_error *e, lm_status status, const char *format, ...) {
    if (e && e->status == LM_OK) {
        va_list args;
        va_start(args, format);
        lm_text_vline(e->text, sizeof e->text, format, args); // one line, whatever the names and texts in it hold
        va_end(args);
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
