// The clip before its enlargement outlives a run that is stopped there, and what goes on from it ends in the same
// bytes.
#include "cli/clip_files.h"
#include "cli/run_options.h"
#include "cli/run_command.h"
#include "cli/tiny_pair.h"

#include "base/memory.h"
#include "pipeline/context.h"

#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static tiny_pair pair;
static command_result r;

static const char *in_work(const char *name) {
    static char paths[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", pair.work, name);
    return paths[next];
}

static bool exists(const char *name) {
    return !access(in_work(name), F_OK);
}

static void expect_nothing_of(const char *output) {
    static const char *const more[] = {"",          ".part",          ".json",         ".json.part",
                                       ".base.npy", ".base.npy.json", ".base.npy.part"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        char name[100];
        snprintf(name, sizeof name, "%s%s", output, more[i]);
        if (exists(name)) fail_msg("%s is there", name);
    }
}

// The enlargement of these takes long enough to be met in it.
static const char *const of_text[] = {"generate", "it's a bee", "-f",     "24", "-W",    "32", "-H", "32",
                                      "-s",       "7",          "--clip", "2",  "--fps", "9",  NULL};
static const char *const of_clip[] = {"edit", "input.npy", "a bee", "--upscale", "-f", "24", "-W",
                                      "32",   "-H",        "32",    "-s",        "8",  NULL};

static int arguments(const char **out, const char *const *run, const char *output) {
    const char *const more[] = {"--steps", "2", "-t", "1", "-m", pair.large_path, "--precision", "fp32", "-o", output};
    int n = 0;
    for (; run[n]; n++) out[n] = run[n];
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) out[n++] = more[i];
    out[n] = NULL;
    return n;
}

static void run_to(const char *const *run, const char *output) {
    const char *all[40];
    arguments(all, run, output);
    run_command(&r, pair.work, all);
}

// Starts a run and sends it a signal when its enlargement has begun.
static void stop_in_enlargement(const char *const *run, const char *output, int number) {
    static char said[1 << 20];
    const char *all[40];
    int n = arguments(all, run, output);
    all[n++] = "--progress";
    all[n++] = "json";
    all[n] = NULL;
    pid_t child = start_command(pair.work, all);
    for (int i = 0; i < 6000 && !strstr(said, "\"step\":5,"); i++) { // the clip itself takes 2 at most
        usleep(5000);
        read_text(in_work("stderr"), said, sizeof said);
    }
    *said = 0;
    assert_int_equal(kill(child, number), 0);
    finish_command(&r, pair.work, child);
}

static void same_files(const char *a, const char *b) {
    char beside_a[100], beside_b[100];
    snprintf(beside_a, sizeof beside_a, "%s.json", a);
    snprintf(beside_b, sizeof beside_b, "%s.json", b);
    assert_true(same_bytes(in_work(a), in_work(b)));
    assert_true(same_bytes(in_work(beside_a), in_work(beside_b)));
}

// Runs the command that the last line of stderr names.
static void go_on(void) {
    static char line[2 * sizeof r.err];
    char *command = strstr(r.err, "this goes on from it: lumiere ");
    assert_non_null(command);
    command += strlen("this goes on from it: ");
    command[strcspn(command, "\n")] = 0;
    snprintf(line, sizeof line, "cd '%s' && '%s'/%s -q -t 1", pair.work, LM_BINARY_DIR, command);
    assert_int_equal(system(line), 0);
}

static void stopped_and_gone_on(const char *const *run, const char *whole, const char *stopped) {
    char base[100];
    snprintf(base, sizeof base, "%s.base.npy", stopped);
    run_to(run, whole);
    expect_done(&r);
    stop_in_enlargement(run, stopped, SIGINT);
    assert_int_equal(r.code, 130);
    assert_non_null(strstr(r.err, "lumiere: stopped in step"));
    assert_non_null(strstr(r.err, "the clip before its enlargement is in "));
    assert_false(exists(stopped));
    assert_true(exists(base));
    go_on();
    same_files(whole, stopped);
    assert_true(exists(base)); // it is the input now, and nobody's to remove
}

static void ctrl_c(void **state) {
    (void)state;
    stopped_and_gone_on(of_text, "whole.mp4", "it's stopped.mp4");
    stopped_and_gone_on(of_clip, "edited.webp", "stopped.webp");
}

static void a_kill(void **state) {
    (void)state;
    stop_in_enlargement(of_text, "killed.mp4", SIGKILL);
    assert_int_equal(r.code, 128 + SIGKILL);
    assert_false(exists("killed.mp4"));
    RUN(&r, pair.work, "upscale", "killed.mp4.base.npy", "-o", "killed.mp4", "-m", pair.large_path, "--precision",
        "fp32", "-q");
    expect_done(&r);
    same_files("whole.mp4", "killed.mp4");
}

// A clip that is enlarged otherwise has the recipe of that.
static void other_settings_make_another_clip(void **state) {
    (void)state;
    RUN(&r, pair.work, "upscale", "killed.mp4.base.npy", "-o", "other.npy", "-m", pair.large_path, "--precision",
        "fp32", "-q", "--steps", "1", "--json");
    expect_done(&r);
    assert_non_null(strstr(r.out, "\"task\":\"upscale\""));
    assert_non_null(strstr(r.out, "\"seed\":7,\"clip\":2,"));
    lm_clip c = read_clip(pair.work, "killed.mp4.base.npy"); // other pixels under its name and with its recipe
    c.data[0] ^= 1;
    write_clip(&c, in_work("killed.mp4.base.npy"));
    lm_clip_free(&c);
    RUN(&r, pair.work, "upscale", "killed.mp4.base.npy", "-o", "other.npy", "-m", pair.large_path, "--precision",
        "fp32", "-q", "--json");
    expect_done(&r);
    assert_non_null(strstr(r.out, "\"task\":\"upscale\""));
}

// The recipe of what was kept makes that again.
static void the_base_is_a_clip_of_its_own(void **state) {
    (void)state;
    static char line[1 << 17];
    stop_in_enlargement(of_text, "again.mp4", SIGKILL);
    RUN(&r, pair.work, "inspect", "again.mp4.base.npy", "--as-args");
    expect_done(&r);
    assert_non_null(strstr(r.out, " --no-upscale"));
    r.out[strcspn(r.out, "\n")] = 0;
    snprintf(line, sizeof line, "cd '%s' && '%s'/%s -q -o remade.npy", pair.work, LM_BINARY_DIR, r.out);
    assert_int_equal(system(line), 0);
    assert_true(same_bytes(in_work("again.mp4.base.npy"), in_work("remade.npy")));
}

// A disk that takes the clip and not its enlargement.
static void a_full_disk(void **state) {
    (void)state;
    run_to(of_text, "whole.npy");
    expect_done(&r);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){500000, old.rlim_max}; // 74 kB and 1.2 MB
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_to(of_text, "full.npy");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r.code, 5);
    assert_non_null(strstr(r.err, "the clip before its enlargement is in full.npy.base.npy"));
    assert_false(exists("full.npy"));
    go_on();
    same_files("whole.npy", "full.npy");
}

static void nothing_is_left_of_what_succeeds(void **state) {
    (void)state;
    static const char *const batch[] = {"generate", "a bee", "-f", "3", "-W", "16", "-H", "16", "-b", "2", NULL};
    run_to(batch, "many.npy");
    expect_done(&r);
    assert_true(exists("many-0.npy") && exists("many-1.npy"));
    assert_false(exists("many-0.npy.base.npy") || exists("many-1.npy.base.npy"));
    assert_false(exists("many-0.npy.base.npy.json") || exists("many-1.npy.base.npy.json"));
    run_to(batch, "folder/");
    expect_done(&r);
    assert_false(exists("folder-0.base.npy") || exists("folder-0.base.npy.json"));
}

// A run that is stopped before there is such a clip keeps none.
static void stopped_earlier(void **state) {
    (void)state;
    static const char *const run[] = {"generate", "a bee", "-f", "80", "-W", "64", "-H", "64", "--steps", "1000", NULL};
    const char *all[40];
    char said[4096] = "";
    int n = 0;
    for (; run[n]; n++) all[n] = run[n];
    const char *const more[] = {"-t", "1", "-m", pair.large_path, "-o", "early.mp4", "--progress", "json", NULL};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) all[n++] = more[i];
    pid_t child = start_command(pair.work, all);
    for (int i = 0; i < 6000 && !strstr(said, "\"step\":1,"); i++) {
        usleep(5000);
        read_text(in_work("stderr"), said, sizeof said);
    }
    assert_int_equal(kill(child, SIGINT), 0);
    finish_command(&r, pair.work, child);
    assert_int_equal(r.code, 130);
    assert_null(strstr(r.err, "before its enlargement"));
    expect_nothing_of("early.mp4");
}

static void where_it_cannot_be_kept(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_work("trap.mp4.base.npy"), 0777), 0);
    run_to(of_text, "trap.mp4");
    expect_refused(&r, 5, "trap.mp4.base.npy': it is a folder");
    assert_int_equal(rmdir(in_work("trap.mp4.base.npy")), 0);
    lm_clip c = read_clip(pair.work, "input.npy");
    write_clip(&c, in_work("out.mp4.base.npy"));
    lm_clip_free(&c);
    RUN(&r, pair.work, "edit", "out.mp4.base.npy", "a bee", "--upscale", "-m", pair.large_path, "-o", "out.mp4");
    expect_refused(&r, 2, "the clip before its enlargement 'out.mp4.base.npy' would be written over --input");
    assert_true(exists("out.mp4.base.npy"));
    RUN(&r, pair.work, "edit", "out.mp4.base.npy", "a bee", "-m", pair.large_path, "-W", "16", "-H", "16", "-o",
        "out.mp4", "-q"); // not enlarged: none is kept
    expect_done(&r);
    assert_true(exists("out.mp4.base.npy"));
}

// ---- the library ----

typedef struct keeper {
    lumiere_clip *base;
    int calls, steps_before, steps;
    bool answer;
} keeper;

static bool keep(void *user, const lumiere_clip *clip) {
    keeper *k = user;
    k->calls++;
    k->steps_before = k->steps;
    assert_int_equal(lumiere_clip_create(pair.context, lumiere_clip_frames(clip), lumiere_clip_width(clip),
                                         lumiere_clip_height(clip), lumiere_clip_fps(clip), lumiere_clip_data(clip),
                                         &k->base),
                     LUMIERE_OK);
    return k->answer;
}

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    (void)steps, (void)seconds_left, (void)preview;
    ((keeper *)user)->steps = step;
    return true;
}

static bool same_pixels(const lumiere_clip *a, const lumiere_clip *b) {
    size_t n = (size_t)a->clip.frames * (size_t)a->clip.width * (size_t)a->clip.height * 3;
    return a->clip.frames == b->clip.frames && a->clip.width == b->clip.width && !memcmp(a->clip.data, b->clip.data, n);
}

static void the_library_hands_it_over(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) { // in one pass and in two; with and without progress
        keeper k = {.answer = true};
        lumiere_clip *out = NULL, *again = NULL;
        const lm_generate_options o = {.prompt = "a bee",
                                       .seed = 5,
                                       .clip = 3,
                                       .frames = 4,
                                       .width = 16,
                                       .height = 12,
                                       .steps = 2,
                                       .refine = i % 2 ? 0.5 : 0,
                                       .refine_set = true,
                                       .progress = i / 2 ? on_step : NULL,
                                       .base = keep,
                                       .user = &k};
        assert_int_equal(run_generate(pair.context, pair.large, &o, &out), LUMIERE_OK);
        assert_int_equal(k.calls, 1);
        if (o.progress) assert_int_equal(k.steps_before, i % 2 ? 3 : 2); // before the first of the enlargement
        assert_int_equal(lumiere_clip_width(k.base), 16);
        const lm_upscale_options u = {.prompt = "a bee", .seed = 5, .clip = 3};
        assert_int_equal(run_upscale(pair.context, pair.large, k.base, &u, &again), LUMIERE_OK);
        assert_true(same_pixels(out, again));
        lumiere_clip_free(&out);
        lumiere_clip_free(&again);
        lumiere_clip_free(&k.base);
        k = (keeper){.answer = false};
        assert_int_equal(run_generate(pair.context, pair.large, &o, &out), LUMIERE_CANCELLED);
        assert_null(out);
        assert_int_equal(k.calls, 1);
        lumiere_clip_free(&k.base);
    }
    keeper k = {.answer = true};
    lumiere_clip *out = NULL;
    const lm_generate_options plain = {.prompt = "a bee",
                                       .frames = 2,
                                       .width = 16,
                                       .height = 16,
                                       .steps = 1,
                                       .enlarge = LM_ENLARGE_NOT,
                                       .base = keep,
                                       .user = &k};
    assert_int_equal(run_generate(pair.context, pair.large, &plain, &out), LUMIERE_OK);
    assert_int_equal(k.calls, 0);
    lumiere_clip_free(&out);
}

// What doesn't fit is known before the first step, not after the last of the clip itself.
static void no_memory_for_the_enlargement(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); // the sanitizer reserves terabytes of address space
#else
    keeper k = {.answer = true};
    lm_generate_options o = {.prompt = "a bee",
                             .frames = 80,
                             .width = 64,
                             .height = 64,
                             .steps = 1,
                             .enlarge = LM_ENLARGE_NOT,
                             .progress = on_step,
                             .base = keep,
                             .user = &k};
    lumiere_estimate small, large;
    lumiere_clip *out = NULL;
    assert_int_equal(run_generate_estimate(pair.context, pair.large, &o, &small), LUMIERE_OK);
    assert_int_equal(run_generate(pair.context, pair.large, &o, &out), LUMIERE_OK); // the base network has its plan
    lumiere_clip_free(&out);
    k = (keeper){.answer = true};
    o.enlarge = LM_ENLARGE;
    assert_int_equal(run_generate_estimate(pair.context, pair.large, &o, &large), LUMIERE_OK);
    assert_true(large.base_width == 64 && large.width == 256 && small.base_width == 0);
    assert_true(large.bytes > small.bytes + 60000000);
    struct rlimit old, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    limit = old;
    limit.rlim_cur = 1 << 30;
    while (setrlimit(RLIMIT_AS, &limit) == 0 && lm_memory_available() > 60000000) limit.rlim_cur -= 10000000;
    while (setrlimit(RLIMIT_AS, &limit) == 0 && lm_memory_available() < 50000000) limit.rlim_cur += 10000000;
    lumiere_status status = run_generate(pair.context, pair.large, &o, &out);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(status, LUMIERE_MEMORY);
    assert_non_null(strstr(lumiere_error_message(pair.context), "80 frames enlarged to 256x256"));
    assert_int_equal(k.steps, 0);
    assert_int_equal(k.calls, 0);
    assert_null(out);
#endif
}

static int make(void **state) {
    (void)state;
    unsetenv("LUMIERE_MODEL");
    tiny_pair_open(&pair, 1);
    lm_error e = {0};
    lm_clip c;
    assert_int_equal(lm_clip_alloc(&e, 24, 32, 32, 3, &c), LM_OK);
    for (int i = 0; i < 24 * 32 * 32 * 3; i++) c.data[i] = (uint8_t)(i / 7 + i / 5000);
    c.fps = 16;
    write_clip(&c, in_work("input.npy"));
    lm_clip_free(&c);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_pair_close(&pair);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ctrl_c),
        cmocka_unit_test(a_kill),
        cmocka_unit_test(other_settings_make_another_clip),
        cmocka_unit_test(the_base_is_a_clip_of_its_own),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(nothing_is_left_of_what_succeeds),
        cmocka_unit_test(stopped_earlier),
        cmocka_unit_test(where_it_cannot_be_kept),
        cmocka_unit_test(the_library_hands_it_over),
        cmocka_unit_test(no_memory_for_the_enlargement),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
