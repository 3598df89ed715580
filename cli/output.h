// How a command that makes clips shows its progress and writes them.
#pragma once
#include "base_clip.h"
#include "commands.h"

// First in a command's settings.
typedef struct output_settings {
    machine_settings machine;
    const char *file, *preview, *progress;
    bool json, quiet;
} output_settings;

extern const option_row output_file_rows[]; // --output
extern const option_row output_rows[];      // what computes, previews, progress, JSON
// Previews every so many steps, unless it was said how many; none without --preview. GO_ON, or the exit code.
int output_choose_previews(const output_settings *s, lumiere_request *r, const char *usual);

typedef struct output_job {
    const output_settings *s;
    lumiere_context *c;
    lumiere_request *r;
    const char *unit; // of the bar: "step"
    progress_mode progress;
    bool preview_failed;
    base_clip base;
} output_job;

// Callbacks of a run; user is an output_job.
bool output_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview);
bool output_keep_base(void *user, const lumiere_clip *clip);
// What is about to be made: "80 frames of 64x64, ..."; way is "of" or "enlarged to", seconds those of all of it.
void output_announce(const output_job *j, const lumiere_model *m, const lumiere_estimate *e, const char *way,
                     double seconds);
double output_clock(void); // seconds since some moment
// Writes the clip and says so; started is output_clock's time.
lumiere_status output_write(const output_job *j, const lumiere_clip *clip, const char *file, const char *recipe,
                            double started);
