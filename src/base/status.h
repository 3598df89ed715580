// Status codes and error messages. A function that can fail takes an lm_error first and returns an lm_status; the
// message says what was wrong and what would be right, in one line that is fit to be shown (lm_text_escape), with
// numbers as in the C locale.
#pragma once
#include <stdarg.h>

// Negated, a status is the command's exit code (LM_CANCELLED: 130).
typedef enum lm_status {
    LM_OK = 0,
    LM_FAILED = -1,    // anything without a code of its own
    LM_USAGE = -2,     // the caller asked for something that makes no sense
    LM_MODEL = -3,     // model files missing, truncated or wrong
    LM_MEMORY = -4,    // does not fit in this machine's memory
    LM_MEDIA = -5,     // input that can't be read, output that can't be written
    LM_CANCELLED = -6, // stopped on request
} lm_status;

typedef struct lm_error {
    lm_status status; // the first failure's; LM_OK while there is none
    char text[480];
} lm_error;

// Records the first failure (a later one does not overwrite it) and returns its own status. e may be NULL.
lm_status lm_fail(lm_error *e, lm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
lm_status lm_fail_memory(lm_error *e, double bytes, const char *what);
void lm_error_clear(lm_error *e);

#define LM_TRY(call)                                                                                                   \
    do {                                                                                                               \
        lm_status lm_try_status = (call);                                                                              \
        if (lm_try_status != LM_OK) return lm_try_status;                                                              \
    } while (0)
