// What the commands share: opening the library, reporting its errors, progress, Ctrl-C.
#pragma once
#include "options.h"

#include "lumiere/lumiere.h"

extern const command command_upscale, command_stylize;
extern const command command_animate, command_inpaint, command_outpaint, command_cinemagraph, command_edit;
extern const command command_generate, command_train, command_inspect, command_measure, command_compare, command_bench,
    command_doctor;

const command *find_command(const char *name); // NULL: there is none of that name

// The exit code of a status.
int exit_code(lumiere_status status);
// Says a context's error on stderr and returns the exit code of status.
int report_failure(const lumiere_context *c, lumiere_status status);
int report_request(const lumiere_request *r, lumiere_status status); // likewise a request's
// A context for the settings; on failure NULL, and *code is the exit code (the message is out).
lumiere_context *open_context(const machine_settings *s, int *code);

// The model folder: given, else the environment's LUMIERE_MODEL, else models/emoji of the source tree or the
// installation that this program is in. path has room for size bytes. NULL: there is none.
const char *find_model(const char *given, char *path, size_t size);

// Appends a word to a command line, after a space and as a shell reads it back.
void append_word(char *line, size_t size, const char *word);

// As lumiere_request_run; a signal that asks to stop ends it within a layer of a network.
lumiere_status run_request(lumiere_request *r, lumiere_model *m, lumiere_clip **out);
// From now on the first SIGINT or SIGTERM only sets a mark, a second one ends the program; SIGHUP and SIGPIPE set the
// mark, unless they are ignored.
void watch_interrupts(void);
bool interrupted(void);
bool reader_is_gone(void); // standard output or standard error is a pipe that nobody reads any more

typedef enum progress_mode { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_JSON } progress_mode;
// "auto" or NULL: a bar when stderr is a terminal.
progress_mode progress_choose(const char *name, bool quiet);
// What is done (text may be ""), on stderr.
void progress_show(progress_mode mode, const char *label, int64_t step, int64_t steps, double seconds_left,
                   const char *text);
void progress_end(progress_mode mode); // clears the bar
#define PROGRESS_CHOICES "auto|bar|json|none"

void print_duration(char *out, size_t size, double seconds); // "1 min 20 s"
