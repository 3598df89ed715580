// Helpers for the tests of store: a folder of their own, files in it, and errors with their messages.
#pragma once
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int make_folder(void **state); // *state: its path
int remove_folder(void **state);
char *in_folder(const char *folder, const char *name); // free with lm_free
void write_bytes(const char *path, const void *bytes, size_t size);
void write_text(const char *path, const char *text);
void assert_content(const char *path, const char *text);

// Fails with e's message when found is not expected.
void assert_status(const lm_error *e, lm_status expected, lm_status found);
// The message contains piece and is one line.
void assert_message(const lm_error *e, const char *piece);
