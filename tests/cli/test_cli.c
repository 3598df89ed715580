// The command as a user meets it: exit codes, messages, files, Ctrl-C. All on a tiny model with random weights.
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <dirent.h>
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, model[256];
static command_result r;

#define GENERATE(...) RUN(&r, work, "generate", "--model", model, "--threads", "1", __VA_ARGS__)

static void in_work(char *out, size_t size, const char *name) {
    snprintf(out, size, "%s/%s", work, name);
}

static bool exists(const char *name) {
    char path[512];
    in_work(path, sizeof path, name);
    return !access(path, F_OK);
}

static int files_in_work(void) {
    int n = 0;
    DIR *d = opendir(work);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(d);
    return n;
}

static void usage_errors_end_with_2(void **state) {
    (void)state;
    RUN(&r, work, "generate", "--model", model);
    expect_refused(&r, 2, "no prompt");
    RUN(&r, work, "generat");
    expect_refused(&r, 2, "did you mean generate?");
    RUN(&r, work, "fly");
    expect_refused(&r, 2, "unknown command");
    run_command(&r, work, (const char *const[]){NULL});
    expect_refused(&r, 2, "no command");
    GENERATE("a bee", "--frames", "3");
    expect_refused(&r, 2, "did you mean --video-frames?");
    GENERATE("a bee", "-Z");
    expect_refused(&r, 2, "unknown option -Z");
    GENERATE("a bee", "--steps");
    expect_refused(&r, 2, "--steps needs a value");
    GENERATE("a bee", "--steps", "many");
    expect_refused(&r, 2, "whole number");
    GENERATE("a bee", "--sampler", "magic");
    expect_refused(&r, 2, "dpmpp_2m|ddim");
    GENERATE("a bee", "--cfg-scale", "nan");
    expect_refused(&r, 2, "--cfg-scale");
    GENERATE("a", "bee");
    expect_refused(&r, 2, "one argument too many");
    GENERATE("-p", "a bee", "a bee");
    expect_refused(&r, 2, "two prompts");
    RUN(&r, work, "train");
    expect_refused(&r, 2, "no run file");
    RUN(&r, work, "bench", "--rows", "nothing");
    expect_refused(&r, 2, "no row");
    RUN(&r, work, "inspect");
    expect_refused(&r, 2, "no file");
    RUN(&r, work, "help", "nothing");
    expect_refused(&r, 2, "unknown command");
}

static void sizes_are_checked(void **state) {
    (void)state;
    static const char *const frames[] = {"0", "-1", "641", "1000000000", "99999999999999999999", "2.5", ""};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        GENERATE("a bee", "--video-frames", frames[i]);
        expect_refused(&r, 2, "frames");
    }
    GENERATE("a bee", "--width", "8193");
    expect_refused(&r, 2, "width");
    GENERATE("a bee", "--height", "0");
    expect_refused(&r, 2, "height");
    GENERATE("a bee", "--width", "8192", "--height", "8192", "--video-frames", "80");
    expect_refused(&r, 4, " fit");
    assert_non_null(strstr(r.err, "80 frames at 8192x8192 need about"));
}

static void an_unreadable_run_file_ends_with_5(void **state) {
    (void)state;
    RUN(&r, work, "train", "nowhere.yaml");
    expect_refused(&r, 5, "nowhere.yaml");
}

#if !defined(__SANITIZE_ADDRESS__) // the sanitizer reserves terabytes of address space
// Runs the command in a shell with at most kib of address space; r gets the outcome.
static void generate_within(long kib, const char *sizes) {
    char line[2048], path[512];
    snprintf(line, sizeof line,
             "cd '%s' && ulimit -v %ld && '%s/lumiere' generate 'a bee' --model '%s' -t 1 --steps 1 -q -o fits.npy %s "
             ">stdout 2>stderr",
             work, kib, LM_BINARY_DIR, model, sizes);
    int status = system(line);
    assert_true(WIFEXITED(status));
    r.code = WEXITSTATUS(status);
    in_work(path, sizeof path, "stdout");
    assert_true(read_text(path, r.out, sizeof r.out));
    in_work(path, sizeof path, "stderr");
    assert_true(read_text(path, r.err, sizeof r.err));
}

#endif

// From the least address space that the command begins in to that in which it ends well: a clip or one line, no crash.
static void little_address_space(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip();
#else
    enum { LOADER_FAILED = 127, STEP = 12000, MOST = 4000000 };
    int refused = 0;
    long kib = 20000;
    for (r.code = LOADER_FAILED; r.code == LOADER_FAILED && kib < MOST; kib += STEP) generate_within(kib, "");
    for (; r.code != 0 && kib < MOST; kib += STEP, refused++) {
        if (r.code != 4 && r.code != 1) fail_msg("exit %d within %ld KiB: %s", r.code, kib, r.err);
        assert_non_null(strchr(r.err, '\n'));
        generate_within(kib, "");
    }
    assert_int_equal(r.code, 0);
    assert_true(refused > 3);
#endif
}

static void refusal_names_a_size_that_fits(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip();
#else
    const long kib = 1000000;
    int frames, width, height;
    generate_within(kib, "-f 80 -W 512 -H 256");
    expect_refused(&r, 4, "need about");
    const char *advice = strstr(r.err, "free; ");
    assert_non_null(advice);
    assert_int_equal(sscanf(advice, "free; %d frames at %dx%d fit", &frames, &width, &height), 3);
    assert_true(frames * width * height < 80 * 512 * 256);
    char sizes[80];
    snprintf(sizes, sizeof sizes, "-f %d -W %d -H %d", frames, width, height);
    generate_within(kib, sizes);
    expect_done(&r);
#endif
}

static void prompts_are_checked(void **state) {
    (void)state;
    static char longest[10001];
    memset(longest, 'a', sizeof longest - 1);
    GENERATE(longest);
    expect_refused(&r, 2, "10000 bytes");
    GENERATE("a bee", "-n", longest);
    expect_refused(&r, 2, "--negative-prompt has");
    GENERATE("a \xff bee");
    expect_refused(&r, 2, "UTF-8");
    GENERATE("a bee", "-n", "\xc3");
    expect_refused(&r, 2, "UTF-8");
    char forty[400] = "";
    for (int i = 0; i < 40; i++) strcat(forty, "bee ");
    strcat(forty, "rocket");
    GENERATE(forty, "-o", "lost.npy");
    expect_done(&r);
    assert_non_null(strstr(r.err, "this is lost: bee"));
    assert_non_null(strstr(r.err, "rocket\n"));
}

static void copy_file(const char *from, const char *to, long bytes) {
    FILE *a = fopen(from, "r"), *b = fopen(to, "w");
    assert_true(a && b);
    for (int c; bytes-- && (c = getc(a)) != EOF;) putc(c, b);
    fclose(a);
    assert_int_equal(fclose(b), 0);
}

static void broken_models_end_with_3(void **state) {
    (void)state;
    RUN(&r, work, "generate", "a bee", "--model", "/nonexistent");
    expect_refused(&r, 3, "/nonexistent");
    char broken[256], from[512], to[512];
    snprintf(broken, sizeof broken, "%s/broken", work);
    tiny_model_make(broken);
    snprintf(from, sizeof from, "%s/base/model.safetensors", model);
    snprintf(to, sizeof to, "%s/base/model.safetensors", broken);
    struct stat info;
    assert_int_equal(stat(from, &info), 0);
    const long sizes[] = {0, 7, 100, info.st_size / 2, info.st_size - 1};
    for (int i = 0; i < 5; i++) {
        copy_file(from, to, sizes[i]);
        RUN(&r, work, "generate", "a bee", "--model", broken);
        expect_refused(&r, 3, "model.safetensors");
    }
    unlink(to);
    RUN(&r, work, "generate", "a bee", "--model", broken);
    expect_refused(&r, 3, "model.safetensors");
    copy_file(from, to, -1);
    RUN(&r, work, "generate", "a bee", "-o", "mended.npy", "--model", broken);
    expect_done(&r);
    static const char *const parts[] = {"base/config.json", "text/config.json", "text/vocab.txt",
                                        "text/model.safetensors", "model.json"};
    for (int i = 0; i < 5; i++) {
        snprintf(to, sizeof to, "%s/%s", broken, parts[i]);
        copy_file("/dev/null", to, -1);
        RUN(&r, work, "generate", "a bee", "--model", broken);
        expect_refused(&r, 3, strrchr(parts[i], '/') ? strrchr(parts[i], '/') + 1 : parts[i]);
        snprintf(from, sizeof from, "%s/%s", model, parts[i]);
        copy_file(from, to, -1);
    }
}

static void outputs_are_checked_first(void **state) {
    (void)state;
    GENERATE("a bee", "-o", "bee.doc");
    expect_refused(&r, 2, "bee.doc");
    GENERATE("a bee", "-o", "no/such/folder/bee.mp4");
    expect_refused(&r, 5, "no/such/folder");
    GENERATE("a bee", "-o", "/dev/null/bee.npy");
    expect_refused(&r, 5, "/dev/null");
    GENERATE("a bee", "-o", "bee.npy", "--preview", "no/such/bee.gif");
    expect_refused(&r, 5, "no/such");
    assert_false(exists("bee.npy"));
    RUN(&r, work, "inspect", "/nonexistent.mp4");
    expect_refused(&r, 5, "/nonexistent.mp4");
}

// A disk that is full, as far as a process can be made to see one: files may not grow beyond a few bytes.
static void full_disk_leaves_the_old_file(void **state) {
    (void)state;
    GENERATE("a bee", "-o", "kept.npy", "-s", "1", "-q");
    expect_done(&r);
    char kept[512], copy[512];
    in_work(kept, sizeof kept, "kept.npy");
    in_work(copy, sizeof copy, "copy.npy");
    copy_file(kept, copy, -1);
    int before = files_in_work();
    struct rlimit old, small = {600, RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    GENERATE("a bee", "-o", "kept.npy", "-s", "2", "-q");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    expect_refused(&r, 5, "kept.npy");
    assert_true(same_bytes(kept, copy));
    assert_int_equal(files_in_work(), before);
}

static void unwritable_stdout_ends_with_5(void **state) {
    (void)state;
    char line[700];
    snprintf(line, sizeof line, "%s/lumiere help > /dev/full 2> %s/message", LM_BINARY_DIR, work);
    int status = system(line);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

static void interrupt_leaves_nothing_half_written(void **state) {
    (void)state;
    int before = files_in_work();
    for (int i = 0; i < 2; i++) {
        char err[4096] = "", path[512];
        in_work(path, sizeof path, "stderr");
        pid_t child = start_command(work, (const char *const[]){"generate", "a bee", "--model", model, "-o",
                                                                "stopped.mp4", "--steps", "1000", "-W", "64", "-H",
                                                                "64", "-f", "80", "--progress", "json", NULL});
        while (!strstr(err, "\"step\":1,") && !strstr(err, "lumiere: ")) {
            usleep(1000);
            read_text(path, err, sizeof err);
        }
        kill(child, i ? SIGTERM : SIGINT);
        finish_command(&r, work, child);
        assert_int_equal(r.code, 130);
        assert_non_null(strstr(r.err, "lumiere: stopped "));
        assert_string_equal(r.out, "");
        assert_int_equal(files_in_work(), before);
    }
}

static void json_is_json(void **state) {
    (void)state;
    GENERATE("a \"bee\", moving", "-o", "j.npy", "--json", "-q", "-s", "11", "-b", "2");
    expect_done(&r);
    assert_string_equal(r.err, "");
    char *line = r.out;
    for (int i = 0; i < 2; i++) {
        char *end = strchr(line, '\n'), name[20];
        assert_non_null(end);
        *end = 0;
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *recipe = json_object_get(object, "recipe");
        assert_non_null(recipe);
        snprintf(name, sizeof name, "j-%d.npy", i);
        assert_string_equal(json_string_value(json_object_get(object, "output")), name);
        assert_string_equal(json_string_value(json_object_get(recipe, "prompt")), "a \"bee\", moving");
        assert_int_equal(json_integer_value(json_object_get(recipe, "seed")), 11);
        assert_int_equal(json_integer_value(json_object_get(recipe, "clip")), i);
        assert_true(exists(name));
        json_decref(object);
        line = end + 1;
    }
    assert_string_equal(line, "");
    GENERATE("a bee", "-o", "p.npy", "--progress", "json", "-q", "-s", "11", "--steps", "3");
    expect_done(&r);
    assert_string_equal(r.out, "");
    int steps = 0;
    for (char *p = strtok(r.err, "\n"); p; p = strtok(NULL, "\n")) {
        json_t *object = json_loads(p, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(object, "step")), ++steps);
        assert_int_equal(json_integer_value(json_object_get(object, "steps")), 3);
        json_decref(object);
    }
    assert_int_equal(steps, 3);
}

static void progress_is_quiet_off_a_terminal(void **state) {
    (void)state;
    GENERATE("a bee", "-o", "q.npy");
    expect_done(&r);
    assert_string_equal(r.out, "");
    assert_null(strchr(r.err, '\r'));
    assert_null(strchr(r.err, '\x1b'));
    setenv("NO_COLOR", "1", 1);
    GENERATE("a bee", "-o", "q.npy", "--progress", "bar");
    unsetenv("NO_COLOR");
    expect_done(&r);
    assert_non_null(strchr(r.err, '\r'));
    assert_null(strstr(r.err, "\x1b[3"));
    GENERATE("a bee", "-o", "q.npy", "-q");
    expect_done(&r);
    assert_string_equal(r.err, "");
}

// inspect --as-args, read by a shell, makes the same bytes.
static void recipe_makes_the_same_bytes(void **state) {
    (void)state;
    char line[4096], first[512], second[512];
    in_work(first, sizeof first, "first.npy");
    in_work(second, sizeof second, "second.npy");
    GENERATE("it's a 'bee', moving from left to right $HOME", "-n", "a rocket", "-o", "first.npy", "-s", "123456789012",
             "--steps", "3", "--cfg-scale", "2.7", "--sampler", "ddim", "-W", "9", "-H", "7", "-f", "5", "--fps",
             "12.5", "--dynamic-threshold", "0.95", "--clip", "3", "-q");
    expect_done(&r);
    RUN(&r, work, "inspect", "first.npy", "--as-args");
    expect_done(&r);
    assert_true(!strncmp(r.out, "lumiere generate ", 17));
    snprintf(line, sizeof line, "cd '%s' && '%s/'%.*s -o second.npy -q", work, LM_BINARY_DIR, (int)strcspn(r.out, "\n"),
             r.out);
    assert_int_equal(system(line), 0);
    assert_true(same_bytes(first, second));
    RUN(&r, work, "inspect", "first.npy", "--json");
    expect_done(&r);
    json_t *object = json_loads(r.out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(object, "frames")), 5);
    assert_int_equal(json_integer_value(json_object_get(object, "width")), 9);
    assert_int_equal(json_integer_value(json_object_get(object, "height")), 7);
    json_decref(object);
}

static void threads_and_batch_change_nothing(void **state) {
    (void)state;
    static const char *const precisions[] = {"fp32", "bf16"};
    char one[512], two[512], third[512];
    in_work(one, sizeof one, "one.npy");
    in_work(two, sizeof two, "two.npy");
    in_work(third, sizeof third, "batch-2.npy");
    for (int i = 0; i < 2; i++) {
#define SAME(name, threads, ...)                                                                                       \
    RUN(&r, work, "generate", "--model", model, "a bee", "-q", "-s", "5", "-f", "11", "-W", "20", "-H", "18",          \
        "--precision", precisions[i], "--threads", threads, "-o", name, __VA_ARGS__);                                  \
    expect_done(&r)
        SAME("one.npy", "1", "--clip", "2");
        SAME("two.npy", "2", "--clip", "2");
        assert_true(same_bytes(one, two));
        SAME("batch.npy", "2", "-b", "3");
        assert_true(same_bytes(one, third));
        SAME("two.npy", "1", "--clip", "1");
        assert_false(same_bytes(one, two));
#undef SAME
    }
}

static void previews_and_formats_are_written(void **state) {
    (void)state;
    GENERATE("a bee", "-o", "clip.mp4", "--preview", "preview.gif", "--preview-every", "1", "-W", "32", "-H", "32",
             "-q");
    expect_done(&r);
    assert_true(exists("preview.gif"));
    RUN(&r, work, "inspect", "clip.mp4");
    expect_done(&r);
    assert_non_null(strstr(r.out, "frames: 4\n"));
    assert_non_null(strstr(r.out, "prompt: a bee\n"));
    RUN(&r, work, "inspect", "preview.gif", "--as-args");
    expect_refused(&r, 5, "no recipe");
    GENERATE("a bee", "-o", "frames/", "-q");
    expect_done(&r);
    RUN(&r, work, "inspect", model);
    expect_done(&r);
    assert_non_null(strstr(r.out, "name: tiny\n"));
    char weights[512];
    snprintf(weights, sizeof weights, "%s/base/model.safetensors", model);
    RUN(&r, work, "inspect", weights);
    expect_done(&r);
    assert_non_null(strstr(r.out, "conv_in.weight: F16 [16,3,3,3]\n"));
}

static void help_and_doctor_answer(void **state) {
    (void)state;
    RUN(&r, work, "--version");
    expect_done(&r);
    assert_string_equal(r.out, "lumiere " LUMIERE_VERSION "\n");
    RUN(&r, work, "help");
    expect_done(&r);
    static const char *const names[] = {"generate", "train", "inspect", "bench", "doctor"};
    for (int i = 0; i < 5; i++) {
        assert_non_null(strstr(r.out, names[i]));
        command_result *help = malloc(sizeof *help);
        RUN(help, work, names[i], "--help");
        assert_int_equal(help->code, 0);
        assert_true(!strncmp(help->out, "usage: lumiere ", 15));
        assert_string_equal(help->err, "");
        free(help);
    }
    RUN(&r, work, "doctor", "--model", model);
    expect_done(&r);
    assert_non_null(strstr(r.out, "model: tiny"));
    assert_null(strstr(r.out, "FAIL"));
    RUN(&r, work, "doctor", "--model", "/nonexistent");
    assert_int_equal(r.code, 3);
    assert_non_null(strstr(r.out, "FAIL  model"));
}

static int set_up(void **state) {
    (void)state;
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(model, sizeof model, "%s/tiny", work);
    tiny_model_make(model);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_errors_end_with_2),
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(an_unreadable_run_file_ends_with_5),
        cmocka_unit_test(little_address_space),
        cmocka_unit_test(refusal_names_a_size_that_fits),
        cmocka_unit_test(prompts_are_checked),
        cmocka_unit_test(broken_models_end_with_3),
        cmocka_unit_test(outputs_are_checked_first),
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(unwritable_stdout_ends_with_5),
        cmocka_unit_test(interrupt_leaves_nothing_half_written),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(progress_is_quiet_off_a_terminal),
        cmocka_unit_test(recipe_makes_the_same_bytes),
        cmocka_unit_test(threads_and_batch_change_nothing),
        cmocka_unit_test(previews_and_formats_are_written),
        cmocka_unit_test(help_and_doctor_answer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
