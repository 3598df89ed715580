#include "base/later.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

typedef struct job {
    pthread_t by;
    int done;
    lm_status status;
} job;

static lm_status work(lm_error *e, void *user) {
    job *j = user;
    j->by = pthread_self();
    j->done++;
    return j->status == LM_OK ? LM_OK : lm_fail(e, j->status, "it failed");
}

static void it_runs_once_on_another_thread(void **state) {
    (void)state;
    job j = {.status = LM_OK};
    lm_later *l = lm_later_begin(work, &j);
    assert_non_null(l);
    assert_int_equal(lm_later_end(NULL, &l), LM_OK);
    assert_null(l);
    assert_int_equal(j.done, 1);
    assert_false(pthread_equal(j.by, pthread_self()));
    assert_int_equal(lm_later_end(NULL, &l), LM_OK);
}

static void its_failure_is_told(void **state) {
    (void)state;
    job j = {.status = LM_MODEL};
    lm_error e = {0};
    lm_later *l = lm_later_begin(work, &j);
    assert_int_equal(lm_later_end(&e, &l), LM_MODEL);
    assert_string_equal(e.text, "it failed");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_runs_once_on_another_thread),
                                       cmocka_unit_test(its_failure_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
