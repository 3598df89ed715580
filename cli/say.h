// Everything that is printed and may hold text of unknown origin (names and words in files, file names, arguments) goes
// through these: a line each, escaped as lumiere_text_escape does, so that no file makes a terminal do anything.
#pragma once
#include <stdio.h>

struct json_t; // jansson.h

void say(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
// "lumiere: " and the message on stderr; returns code.
int complain(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Compact JSON with so many digits on stdout; the same JSON, though with more escapes than jansson makes. value may be
// NULL when memory was short for it. 0, or 4 when memory is short (which has been said).
int say_json(const struct json_t *value, int digits);
// A JSON string of a file's name or an argument, which may hold bytes that JSON can't: those are escaped.
struct json_t *json_of_text(const char *text);
