// Text for people and files that doesn't depend on the host program's locale, and text of unknown origin made fit to be
// shown.
#pragma once
#include <locale.h>
#include <stdarg.h>
#include <stddef.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

// snprintf and strtod as in the C locale: numbers have a point, whatever the locale that the program has set.
int lm_text_format(char *out, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int lm_text_vformat(char *out, size_t size, const char *format, va_list args) __attribute__((format(printf, 3, 0)));
double lm_text_number(const char *text, char **end);

// The same for a library's own reading and writing of numbers: the calling thread's locale put aside, and back. No
// memory is taken for it; errno is kept.
typedef struct lm_locale_aside {
    locale_t plain, before;
} lm_locale_aside;
lm_locale_aside lm_locale_enter_plain(void);
void lm_locale_leave_plain(lm_locale_aside a);

// text as one line that a terminal shows and doesn't obey, in valid UTF-8. Control characters, and those that are
// invisible and change how others are shown (direction, tags, line and paragraph marks), are written as in JSON: \n,
// \u001b, \u202e. A byte that is no UTF-8 becomes \xNN. A backslash stays one: the result is for reading, though a JSON
// text stays the same JSON. As snprintf: returns the length of the whole, and cuts what is longer than size - 1 bytes,
// but between characters.
size_t lm_text_escape(char *out, size_t size, const char *text);
// Formatted in the C locale, then escaped; at most 1 KiB.
void lm_text_vline(char *out, size_t size, const char *format, va_list args) __attribute__((format(printf, 3, 0)));
