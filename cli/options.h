// One table per command that parses its options and prints its help.
#pragma once
#include "say.h"

#include "lumiere/lumiere.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_FLAG,    // bool
    OPTION_TEXT,    // const char *
    OPTION_LIST,    // text_list; may be given several times
    OPTION_INT,     // int within [least, most]
    OPTION_SEED,    // int64_t; negative: pick one
    OPTION_NUMBER,  // double within [least, most]
    OPTION_CHOICE,  // const char *, one of those in argument, separated by '|'
    OPTION_ROWS,    // no option itself: argument is a table of rows that commands share, see OPTION_SHARED
    OPTION_UNTIL,   // no option itself: settings of the command's task stand here, see OPTION_SETTINGS
    OPTION_SETTING, // argument is a lumiere_setting, which goes to the command's request
} option_kind;

typedef struct option_row {
    const char *name;
    char letter; // 0: none
    option_kind kind;
    size_t offset;        // of the value in the command's settings
    const char *argument; // "N", "FILE", "auto|fp32|bf16"
    const char *help;
    double least, most;
    size_t given; // offset of a bool that becomes true; 0: none
} option_row;

enum { MAX_LIST = 64 };
typedef struct text_list {
    const char *items[MAX_LIST];
    int count;
} text_list;

typedef struct command {
    const char *name, *arguments, *summary, *details;
    const option_row *options; // ends with a row without a name
    int most_arguments;        // that are not options
    int (*run)(const struct command *c, int argc, char **argv);
} command;

// Options that every command which computes has; first in its settings.
typedef struct machine_settings {
    const char *device, *precision;
    int threads; // below 1: all processors
    bool quiet;  // not an option of its own: don't say that fewer threads are used
} machine_settings;
#define OPTION_THREADS                                                                                                 \
    {                                                                                                                  \
        .name = "threads", .letter = 't', .kind = OPTION_INT, .offset = offsetof(machine_settings, threads),           \
        .argument = "N", .help = "threads to compute with; 0 or -1: all processors (default)", .least = -1,            \
        .most = 4096                                                                                                   \
    }
#define OPTION_PRECISION                                                                                               \
    {                                                                                                                  \
        .name = "precision", .kind = OPTION_CHOICE, .offset = offsetof(machine_settings, precision),                   \
        .argument = "auto|fp32|bf16", .help = "arithmetic; auto is what is fastest here (default)"                     \
    }
#define OPTION_DEVICE                                                                                                  \
    {                                                                                                                  \
        .name = "device", .kind = OPTION_CHOICE, .offset = offsetof(machine_settings, device),                         \
        .argument = "cpu|reference", .help = "what computes; reference is plain C and slow (default: cpu)"             \
    }

#define OPTION_SHARED(table)                                                                                           \
    { .name = "", .kind = OPTION_ROWS, .argument = (const char *)(table) }

// The settings of the task that the command is called after, in the library's order: those that no row before this one
// listed, up to the one of that key (NULL: all).
#define OPTION_SETTINGS(until)                                                                                         \
    { .name = "", .kind = OPTION_UNTIL, .argument = (until) }

enum { GO_ON = -1 };
// Fills settings. arguments: room for c->most_arguments texts, NULL where none was given. Returns GO_ON, or the exit
// code when the command ends here: help was asked for, or something was wrong and has been said.
int options_parse(const command *c, int argc, char **argv, void *settings, const char **arguments);
// The same for a command with settings of a task, which r gets.
int options_parse_request(const command *c, int argc, char **argv, void *settings, const char **arguments,
                          lumiere_request *r);
void options_help(const command *c);
bool option_find(const command *c, const char *name, option_row *out); // by its long name
bool option_is_choice(const option_row *o, const char *value);

void setting_value(const lumiere_setting *s, char *out, size_t size); // as help shows it: "N", "ddim|...", ""
const char *setting_default(const lumiere_setting *s);                // in words; NULL: none

// The candidate nearest to word, when it is near enough to be meant; else NULL. Candidates end with NULL.
const char *nearest_word(const char *word, const char *const *candidates);
