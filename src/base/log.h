// What the library decides on its way, told in lines to whoever looks for a fault. A log belongs to an instance (a
// device): there is none of the process. Zeroed, nobody listens, and a line costs a comparison.
#pragma once
#include <stdbool.h>

typedef enum lm_log_level {
    LM_LOG_NONE,
    LM_LOG_STEPS,   // some lines a call: what is planned, chosen, packed, stopped
    LM_LOG_DETAILS, // a line a node as well
} lm_log_level;

// line: without its end, fit to be shown (plain_text.h), for the length of the call. On the thread that calls the
// library, never on a worker.
typedef void (*lm_log_fn)(void *user, lm_log_level level, const char *line);

typedef struct lm_log {
    lm_log_fn fn; // NULL: nobody listens
    void *user;
    lm_log_level most; // lines of higher levels are left out
} lm_log;

static inline bool lm_log_wants(const lm_log *l, lm_log_level level) {
    return l->fn && level <= l->most;
}
void lm_log_line(const lm_log *l, lm_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
