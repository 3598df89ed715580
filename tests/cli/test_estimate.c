// What an estimate takes.
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include "pipeline/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static char *work, folder[300];

static const lm_backend *counted;
static int runs;

static lm_status count_run(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                           uint64_t weights_version) {
    runs++;
    return counted->run(e, d, calls, count, workspace, weights_version);
}

// To know which words are lost the prompt's tokens are enough, and what is made is known from the plans.
static void an_estimate_runs_no_network(void **state) {
    (void)state;
    lumiere_context *c;
    lumiere_model *m;
    lumiere_estimate estimate;
    const lumiere_generate_options o = {.prompt = "a bee", .negative_prompt = "a rocket"};
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    if (lumiere_model_open(c, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    // the first one measures the machine and plans the networks
    assert_int_equal(lumiere_estimate_generate(c, m, &o, &estimate), LUMIERE_OK);
    counted = c->device->backend;
    lm_backend counting = *counted;
    counting.run = count_run;
    c->device->backend = &counting;
    runs = 0;
    assert_int_equal(lumiere_estimate_generate(c, m, &o, &estimate), LUMIERE_OK);
    c->device->backend = counted;
    assert_int_equal(runs, 0);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
}

static int set_up(void **state) {
    (void)state;
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_estimate_runs_no_network)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
