// Runs the built command and keeps what it said.
#pragma once
#include <stdbool.h>
#include <sys/types.h>

typedef struct command_result {
    int code; // exit code, or 128 + the signal that ended it
    char out[1 << 16], err[1 << 16];
} command_result;

// Arguments end with NULL. folder: where it runs and where its output is kept for a moment.
void run_command(command_result *r, const char *folder, const char *const *arguments);
#define RUN(r, folder, ...) run_command(r, folder, (const char *const[]){__VA_ARGS__, NULL})

// The same in two parts. stderr grows in FOLDER/stderr while it runs.
pid_t start_command(const char *folder, const char *const *arguments);
void finish_command(command_result *r, const char *folder, pid_t child);

// Reads a file of at most size - 1 bytes as text; false when it can't be read.
bool read_text(const char *path, char *out, size_t size);
bool same_bytes(const char *path, const char *other);

// Fails the test unless the command ended so: the exit code, one line on stderr that begins with the program's name and
// says what, nothing on stdout; or without an error.
void expect_refused(const command_result *r, int code, const char *what);
void expect_done(const command_result *r);
