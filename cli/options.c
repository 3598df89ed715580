#include "options.h"

#include "commands.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 96, LONG_ONLY = 256, HELP = 1000 };

static int smallest(int a, int b, int c) {
    return a < b ? (a < c ? a : c) : (b < c ? b : c);
}

// Levenshtein distance of words of at most 31 letters.
static int distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    int row[32];
    if (n > 31 || m > 31) return INT_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int above = row[j];
            row[j] = smallest(above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1]));
            corner = above;
        }
    }
    return row[m];
}

const char *nearest_word(const char *word, const char *const *candidates) {
    const char *best = NULL;
    int nearest = (int)strlen(word) / 3 + 1;
    for (; *candidates; candidates++) {
        bool begins = strlen(word) >= 3 && strstr(*candidates, word); // "frames" for "video-frames"
        int d = begins ? 1 : distance(word, *candidates);
        if (d <= nearest && (!best || d < nearest)) {
            best = *candidates;
            nearest = d;
        }
    }
    return best;
}

static const lumiere_setting *setting_of(const option_row *o) {
    return o->kind == OPTION_SETTING ? (const lumiere_setting *)(const void *)o->argument : NULL;
}

// Settings of the command's task from number *next on, up to the one of a key.
static int collect_settings(const char *task, const char *until, int *next, option_row *out, int n) {
    const lumiere_setting *s;
    for (; n < MAX_OPTIONS && (s = lumiere_setting_at(task, *next)) && (!until || strcmp(s->key, until)); ++*next)
        out[n++] = (option_row){
            .name = s->option, .letter = s->letter, .kind = OPTION_SETTING, .argument = (const char *)(const void *)s};
    return n;
}

// All rows of a table, those of shared tables and of the task's settings too; at most MAX_OPTIONS.
static int collect_table(const char *task, const option_row *table, int *next, option_row *out, int n) {
    for (; table->name && n < MAX_OPTIONS; table++)
        if (table->kind == OPTION_ROWS)
            n = collect_table(task, (const option_row *)(const void *)table->argument, next, out, n);
        else if (table->kind == OPTION_UNTIL)
            n = collect_settings(task, table->argument, next, out, n);
        else
            out[n++] = *table;
    return n;
}

static int collect_rows(const command *c, option_row *out) {
    int next = 0;
    return collect_table(c->name, c->options, &next, out, 0);
}

static int unknown_option(const command *c, const option_row *rows, int n, const char *word) {
    char name[64];
    snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = 0;
    const char *names[MAX_OPTIONS + 2] = {"help"};
    for (int i = 0; i < n; i++) names[i + 1] = rows[i].name;
    const char *near = !strncmp(word, "--", 2) ? nearest_word(name, names) : NULL;
    if (near) return complain(2, "%s: unknown option %s; did you mean --%s?", c->name, word, near);
    return complain(2, "%s: unknown option %s; see lumiere help %s", c->name, word, c->name);
}

bool option_is_choice(const option_row *o, const char *value) {
    size_t n = strlen(value);
    for (const char *p = strchr(value, '|') ? NULL : o->argument; n && p;
         p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (!strncmp(p, value, n) && (p[n] == '|' || p[n] == 0)) return true;
    return false;
}

static int set_number(const option_row *o, const char *text, void *to) {
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    bool whole = o->kind == OPTION_INT, ok = *text && !*end && !errno && v >= o->least && v <= o->most;
    if (ok && (!whole || v == floor(v))) {
        if (whole)
            *(int *)to = (int)v;
        else
            *(double *)to = v;
        return GO_ON;
    }
    char range[80];
    if (o->most == INT_MAX)
        snprintf(range, sizeof range, "of at least %.10g", o->least);
    else
        snprintf(range, sizeof range, "from %.10g to %.10g", o->least, o->most);
    return complain(2, "--%s is \"%.40s\"; it must be a %snumber %s", o->name, text, whole ? "whole " : "", range);
}

static int set_seed(const option_row *o, const char *text, void *to) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (!*text || *end || errno)
        return complain(2, "--%s is \"%.40s\"; it must be a whole number below 2^63", o->name, text);
    *(int64_t *)to = v;
    return GO_ON;
}

static int add_to_list(const option_row *o, const char *text, text_list *list) {
    if (list->count == MAX_LIST) return complain(2, "--%s is given more than %d times", o->name, MAX_LIST);
    list->items[list->count++] = text;
    return GO_ON;
}

static bool takes_value(const option_row *o) {
    const lumiere_setting *s = setting_of(o);
    return s ? s->kind != LUMIERE_FLAG : o->kind != OPTION_FLAG;
}

static int set_setting(const option_row *o, const char *text, lumiere_request *r) {
    char name[80];
    snprintf(name, sizeof name, "--%s", o->name);
    lumiere_status status = lumiere_request_set(r, name, text ? text : "true");
    return status == LUMIERE_OK ? GO_ON : report_request(r, status);
}

static int set_value(const option_row *o, const char *text, char *settings, lumiere_request *r) {
    if (o->kind == OPTION_SETTING) return set_setting(o, text, r);
    void *to = settings + o->offset;
    if (o->given) *(bool *)(settings + o->given) = true;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)to = true;
        return GO_ON;
    case OPTION_LIST:
        return add_to_list(o, text, to);
    case OPTION_INT:
    case OPTION_NUMBER:
        return set_number(o, text, to);
    case OPTION_SEED:
        return set_seed(o, text, to);
    case OPTION_CHOICE:
        if (!option_is_choice(o, text))
            return complain(2, "--%s is \"%.40s\"; it must be one of %s", o->name, text, o->argument);
        break;
    case OPTION_TEXT:
    case OPTION_ROWS:
    case OPTION_UNTIL:
    case OPTION_SETTING:
        break;
    }
    *(const char **)to = text;
    return GO_ON;
}

static void fill_getopt(const option_row *rows, int n, struct option *longs, char *shorts) {
    *shorts++ = ':';
    *shorts++ = 'h';
    longs[n] = (struct option){"help", no_argument, NULL, 'h'};
    longs[n + 1] = (struct option){0};
    for (int i = 0; i < n; i++) {
        bool takes = takes_value(&rows[i]);
        longs[i] = (struct option){rows[i].name, takes ? required_argument : no_argument, NULL,
                                   rows[i].letter ? rows[i].letter : LONG_ONLY + i};
        if (!rows[i].letter) continue;
        *shorts++ = rows[i].letter;
        if (takes) *shorts++ = ':';
    }
    *shorts = 0;
}

bool option_find(const command *c, const char *name, option_row *out) {
    option_row rows[MAX_OPTIONS];
    int n = collect_rows(c, rows);
    for (int i = 0; i < n; i++)
        if (!strcmp(rows[i].name, name)) {
            *out = rows[i];
            return true;
        }
    return false;
}

static int row_of(const option_row *rows, int n, int code) {
    for (int i = 0; i < n; i++)
        if (code == (rows[i].letter ? rows[i].letter : LONG_ONLY + i)) return i;
    return -1;
}

static int take_arguments(const command *c, int argc, char **argv, const char **arguments) {
    for (int i = 0; i < c->most_arguments; i++) arguments[i] = i < argc ? argv[i] : NULL;
    if (argc <= c->most_arguments) return GO_ON;
    return complain(2, "%s: one argument too many: \"%.60s\"%s", c->name, argv[c->most_arguments],
                    c->most_arguments ? " (a prompt or name with spaces needs quotes)" : "");
}

int options_parse(const command *c, int argc, char **argv, void *settings, const char **arguments) {
    return options_parse_request(c, argc, argv, settings, arguments, NULL);
}

int options_parse_request(const command *c, int argc, char **argv, void *settings, const char **arguments,
                          lumiere_request *r) {
    struct option longs[MAX_OPTIONS + 2];
    char shorts[2 * MAX_OPTIONS + 4];
    option_row rows[MAX_OPTIONS];
    int n = collect_rows(c, rows);
    fill_getopt(rows, n, longs, shorts);
    opterr = 0;
    optind = 1;
    for (;;) {
        int before = optind, code = getopt_long(argc, argv, shorts, longs, NULL);
        if (code == -1) break;
        if (code == 'h') {
            options_help(c);
            return 0;
        }
        const char *word = argv[optind > before ? optind - 1 : before];
        if (code == '?') {
            char letter[3] = {'-', (char)optopt, 0};
            return unknown_option(c, rows, n, optopt > 0 && optopt < 128 && strncmp(word, "--", 2) ? letter : word);
        }
        if (code == ':') return complain(2, "%s: %s needs a value; see lumiere help %s", c->name, word, c->name);
        int status = set_value(&rows[row_of(rows, n, code)], optarg, settings, r);
        if (status != GO_ON) return status;
    }
    return take_arguments(c, argc - optind, argv + optind, arguments);
}

static void print_left(const char *name, char letter, const char *value, const char *help) {
    char left[200], start[4] = "   ";
    if (letter) snprintf(start, sizeof start, "-%c,", letter);
    snprintf(left, sizeof left, "%s --%s%s%s", start, name, *value ? " " : "", value);
    if (strlen(left) > 32)
        printf("  %s\n  %-32s  %s\n", left, "", help);
    else
        printf("  %-32s  %s\n", left, help);
}

void setting_value(const lumiere_setting *s, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%s", s->placeholder ? s->placeholder : "");
    for (int i = 0; i < s->choice_count && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "|" : "", s->choices[i]);
}

const char *setting_default(const lumiere_setting *s) {
    return s->preset_words ? s->preset_words : s->source == LUMIERE_FROM_MODEL ? "the model's" : s->preset;
}

static void print_row(const option_row *o) {
    const lumiere_setting *s = setting_of(o);
    char value[80], help[400];
    if (!s) {
        print_left(o->name, o->letter, o->kind == OPTION_FLAG ? "" : o->argument, o->help);
        return;
    }
    const char *preset = setting_default(s);
    setting_value(s, value, sizeof value);
    snprintf(help, sizeof help, preset && *preset ? "%s (default: %s)" : "%s", s->help, preset);
    print_left(s->option, s->letter, value, help);
}

void options_help(const command *c) {
    printf("usage: lumiere %s%s%s [options]\n\n%s\n", c->name, *c->arguments ? " " : "", c->arguments, c->summary);
    if (*c->details) printf("\n%s\n", c->details);
    printf("\n");
    option_row rows[MAX_OPTIONS];
    int n = collect_rows(c, rows);
    for (int i = 0; i < n; i++) print_row(&rows[i]);
    print_row(&(option_row){"help", 'h', OPTION_FLAG, 0, "", "this text", 0, 0, 0});
}
