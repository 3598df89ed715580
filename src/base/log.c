#include "base/log.h"

#include "base/plain_text.h"

void lm_log_line(const lm_log *l, lm_log_level level, const char *format, ...) {
    if (!lm_log_wants(l, level)) return;
    char line[512];
    va_list args;
    va_start(args, format);
    lm_text_vline(line, sizeof line, format, args);
    va_end(args);
    l->fn(l->user, level, line);
}
