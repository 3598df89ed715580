// The lumiere command: finds the subcommand and leaves the rest to it.
#include "commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const command *const commands[] = {&command_generate,    &command_animate, &command_inpaint, &command_outpaint,
                                          &command_cinemagraph, &command_edit,    &command_stylize, &command_upscale,
                                          &command_train,       &command_inspect, &command_measure, &command_compare,
                                          &command_bench,       &command_doctor};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void) {
    printf("lumiere %s: text to video by space-time diffusion\n\nusage: lumiere COMMAND [options]\n\n",
           lumiere_version());
    for (int i = 0; i < COMMANDS; i++) printf("  %-11s %s\n", commands[i]->name, commands[i]->summary);
    printf("  %-11s %s\n", "help", "Prints a command's options: lumiere help COMMAND.");
    printf("  %-11s %s\n", "--version", "Prints the version.");
    printf("\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 model missing or damaged, 4 not enough memory,\n"
           "5 input or output file, 130 interrupted, 141 nobody reads the output any more.\n");
}

const command *find_command(const char *name) {
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[COMMANDS + 2] = {"help"};
    for (int i = 0; i < COMMANDS; i++) names[i + 1] = commands[i]->name;
    const char *near = nearest_word(name, names);
    if (near) return complain(2, "unknown command \"%.40s\"; did you mean %s?", name, near);
    return complain(2, "unknown command \"%.40s\"; see lumiere help", name);
}

static int help(int argc, char **argv) {
    const command *c = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1 && !c) return unknown_command(argv[1]);
    if (c)
        options_help(c);
    else
        print_help();
    return 0;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) return complain(2, "no command; see lumiere help");
    const char *name = argv[1];
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) return help(argc - 1, argv + 1);
    if (!strcmp(name, "--version") || !strcmp(name, "-V") || !strcmp(name, "version")) {
        printf("lumiere %s\n", lumiere_version());
        return 0;
    }
    const command *c = find_command(name);
    return c ? c->run(c, argc - 1, argv + 1) : unknown_command(name);
}

int main(int argc, char **argv) {
    lumiere_ffmpeg_silence();
    signal(SIGXFSZ, SIG_IGN); // a file that gets too large is a write error like any other
    int code = dispatch(argc, argv);
    bool failed = ferror(stdout) != 0;
    failed |= fclose(stdout) != 0;
    if (reader_is_gone() && (code == 0 || code == 130)) return 128 + SIGPIPE; // as of a program that it ended
    if (failed && code == 0) return complain(5, "standard output could not be written");
    return code;
}
