// Whole files: read with a size limit, written so that a reader sees the old content or the new, never a part.
#pragma once
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

// *out is NUL-terminated beyond size; free with lm_free. missing: the status for a file that can't be read.
lm_status lm_file_read(lm_error *e, const char *path, size_t limit, lm_status missing, uint8_t **out, size_t *size);

// Atomic writing: create gives a temporary file beside path (PATH.part, locked), commit flushes, fsyncs, renames and
// fsyncs the folder. failure: the status when it can't be written. A link is written through. What is no regular file,
// and what may not be written to, can't be replaced.
typedef struct lm_file_writer lm_file_writer;
lm_status lm_file_create(lm_error *e, const char *path, lm_status failure, lm_file_writer **out);
lm_status lm_file_append(lm_error *e, lm_file_writer *w, const void *bytes, size_t size); // keeps the first failure
lm_status lm_file_commit(lm_error *e, lm_file_writer **w); // frees w; the temporary file is gone on failure
void lm_file_discard(lm_file_writer **w);                  // frees w, leaves path as it was

// What create would say, asked before a long run. Leaves everything as it was.
lm_status lm_file_check(lm_error *e, const char *path, lm_status failure);
// Says why temporary, path's name until it is complete, could not be made in folder; errno is the reason.
lm_status lm_file_not_made(lm_error *e, const char *path, const char *temporary, const char *folder, lm_status failure);
