// A request's job: resolved once, and stopped between the nodes of a network, by any thread.
#include "api/request_handle.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *work, folder[300];
static lumiere_context *context;
static lumiere_model *model;

static lumiere_request *ask(const char *json) {
    lumiere_request *r;
    assert_int_equal(lumiere_request_create("generate", &r), LUMIERE_OK);
    if (lumiere_request_set_json(r, json) != LUMIERE_OK) fail_msg("%s", lumiere_request_error(r));
    return r;
}

static void settings_are_resolved_once(void **state) {
    (void)state;
    lumiere_request *r = ask("{\"prompt\": \"a bee\", \"frames\": 4}");
    lumiere_estimate e;
    lumiere_clip *clip;
    char *recipe;
    assert_int_equal(lumiere_request_resolve(r, model), LUMIERE_OK);
    assert_int_equal(lumiere_request_estimate(r, model, &e), LUMIERE_OK);
    assert_int_equal(lumiere_request_describe(r, model, NULL, &recipe), LUMIERE_OK);
    assert_int_equal(lumiere_request_run(r, model, &clip), LUMIERE_OK);
    assert_int_equal(r->resolutions, 1);
    lumiere_clip_free(&clip);
    lumiere_string_free(&recipe);
    assert_int_equal(lumiere_request_set(r, "frames", "6"), LUMIERE_OK);
    assert_int_equal(lumiere_request_run(r, model, &clip), LUMIERE_OK);
    assert_int_equal(r->resolutions, 2);
    assert_int_equal(lumiere_clip_frames(clip), 6);
    lumiere_clip_free(&clip);
    lumiere_request_free(&r);
}

static const lm_backend *counted;
static int runs, stop_at;
static lumiere_request *stopped;

static lm_status count_run(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                           uint64_t weights_version) {
    if (++runs == stop_at) lumiere_request_cancel(stopped);
    return counted->run(e, d, calls, count, workspace, weights_version);
}

// At whatever node it comes no further one runs, and the next run is whole.
static void a_run_is_stopped_between_nodes(void **state) {
    (void)state;
    lumiere_request *r = stopped = ask("{\"prompt\": \"a bee\", \"frames\": 170, \"steps\": 2, \"seed\": 3}");
    lumiere_clip *whole, *clip;
    assert_int_equal(lumiere_request_run(r, model, &whole), LUMIERE_OK);
    counted = model->device->backend;
    lm_backend counting = *counted;
    counting.run = count_run;
    model->device->backend = &counting;
    runs = stop_at = 0;
    assert_int_equal(lumiere_request_run(r, model, &clip), LUMIERE_OK);
    lumiere_clip_free(&clip);
    const int all = runs;
    assert_true(all > 200);
    for (stop_at = all / 5; stop_at < all; stop_at += all / 5) {
        runs = 0;
        assert_int_equal(lumiere_request_run(r, model, &clip), LUMIERE_CANCELLED);
        assert_null(clip);
        assert_int_equal(runs, stop_at);
        assert_non_null(strstr(lumiere_request_error(r), "stopped"));
    }
    model->device->backend = counted;
    assert_int_equal(lumiere_request_run(r, model, &clip), LUMIERE_OK);
    assert_memory_equal(whole->clip.data, clip->clip.data, (size_t)clip->clip.frames * 8 * 8 * 3);
    lumiere_clip_free(&clip);
    lumiere_clip_free(&whole);
    lumiere_request_free(&r);
}

static void *make_one(void *user) {
    lumiere_request *r = user;
    lumiere_clip *clip;
    const lumiere_status status = lumiere_request_run(r, model, &clip);
    lumiere_clip_free(&clip);
    return (void *)(intptr_t)status;
}

// One model used by threads one after the other, and a run stopped from another thread.
static void other_threads_run_and_stop(void **state) {
    (void)state;
    lumiere_request *r = ask("{\"prompt\": \"a bee\", \"frames\": 640, \"steps\": 200, \"seed\": 3}");
    lumiere_request *small = ask("{\"prompt\": \"a bee\", \"frames\": 2}");
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        void *status;
        assert_int_equal(pthread_create(&thread, NULL, make_one, i == 1 ? r : small), 0);
        if (i == 1) lumiere_request_cancel(r);
        assert_int_equal(pthread_join(thread, &status), 0);
        assert_int_equal((intptr_t)status, i == 1 ? LUMIERE_CANCELLED : LUMIERE_OK);
    }
    lumiere_request_free(&r);
    lumiere_request_free(&small);
}

static void count_line(void *user, lumiere_log_level level, const char *line) {
    assert_true(level == LUMIERE_LOG_STEPS && *line);
    ++*(int *)user;
}

// A log is the context's: it ends with it, while the model that was opened in it lives on.
static void a_log_ends_with_its_context(void **state) {
    (void)state;
    lumiere_context *c;
    lumiere_model *m;
    lumiere_clip *clip;
    lumiere_request *r = ask("{\"prompt\": \"a bee\", \"frames\": 2}");
    int lines = 0;
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    lumiere_context_log(c, LUMIERE_LOG_STEPS, count_line, &lines);
    assert_int_equal(lines, 1); // what the device is
    assert_int_equal(lumiere_model_open(c, folder, &m), LUMIERE_OK);
    assert_int_equal(lumiere_request_run(r, m, &clip), LUMIERE_OK);
    lumiere_clip_free(&clip);
    const int before = lines;
    assert_true(before >= 3); // the plans of the text encoder and the network
    lumiere_context_free(&c);
    assert_int_equal(lumiere_request_set(r, "frames", "8"), LUMIERE_OK);
    assert_int_equal(lumiere_request_run(r, m, &clip), LUMIERE_OK);
    assert_int_equal(lines, before);
    lumiere_clip_free(&clip);
    lumiere_model_free(&m);
    lumiere_request_free(&r);
}

static void the_command_prints_it_where_asked(void **state) {
    (void)state;
    static command_result r;
    setenv("LUMIERE_DEBUG", "1", 1);
    RUN(&r, work, "generate", "a bee", "--model", folder, "-f", "2", "-o", "out.npy", "-q");
    unsetenv("LUMIERE_DEBUG");
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "lumiere: plan: "));
    RUN(&r, work, "generate", "a bee", "--model", folder, "-f", "2", "-o", "out.npy", "-q");
    assert_string_equal(r.err, "");
}

static int set_up(void **state) {
    (void)state;
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 2}, &context), LUMIERE_OK);
    if (lumiere_model_open(context, folder, &model)) fail_msg("%s", lumiere_error_message(context));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    lumiere_model_free(&model);
    lumiere_context_free(&context);
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_resolved_once), cmocka_unit_test(a_run_is_stopped_between_nodes),
        cmocka_unit_test(other_threads_run_and_stop), cmocka_unit_test(a_log_ends_with_its_context),
        cmocka_unit_test(the_command_prints_it_where_asked)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
