#include "say.h"

#include "lumiere/lumiere.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

// A copy of text, escaped; NULL when memory is short.
static char *escaped(const char *text) {
    size_t n = lumiere_text_escape(NULL, 0, text);
    char *copy = malloc(n + 1);
    if (copy) lumiere_text_escape(copy, n + 1, text);
    return copy;
}

static void print_line(FILE *to, const char *start, const char *format, va_list args) {
    char *raw = NULL;
    if (vasprintf(&raw, format, args) < 0) raw = NULL;
    char *line = raw ? escaped(raw) : NULL;
    fprintf(to, "%s%s\n", start, line ? line : "no memory for a message");
    free(line);
    free(raw);
}

void say(FILE *to, const char *format, ...) {
    va_list args;
    va_start(args, format);
    print_line(to, "", format, args);
    va_end(args);
}

int complain(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    print_line(stderr, "lumiere: ", format, args);
    va_end(args);
    return code;
}

int say_json(const json_t *value, int digits) {
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits)) : NULL;
    char *line = text ? escaped(text) : NULL;
    if (line) printf("%s\n", line);
    int code = line ? 0 : complain(4, "no memory for a line of JSON");
    free(line);
    free(text);
    return code;
}

json_t *json_of_text(const char *text) {
    json_t *value = json_string(text);
    char *other = value ? NULL : escaped(text);
    if (other) value = json_string(other);
    free(other);
    return value;
}
