#include "base/later.h"

#include "base/memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

struct lm_later {
    pthread_t thread;
    bool begun;
    lm_later_fn fn;
    void *user;
    lm_status status;
    lm_error error;
};

static void *call(void *user) {
    lm_later *l = user;
    l->status = l->fn(&l->error, l->user);
    return NULL;
}

lm_later *lm_later_begin(lm_later_fn fn, void *user) {
    lm_later *l = lm_alloc_zero(1, sizeof *l);
    if (!l) return NULL;
    l->fn = fn;
    l->user = user;
    sigset_t all, before; // signals are the program's own threads' business
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    l->begun = pthread_create(&l->thread, NULL, call, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l;
}

lm_status lm_later_end(lm_error *e, lm_later **later) {
    lm_later *l = *later;
    *later = NULL;
    if (!l) return LM_OK;
    if (!l->begun || pthread_join(l->thread, NULL) != 0) call(l);
    lm_status status = l->status;
    if (status != LM_OK) lm_fail(e, status, "%s", l->error.text);
    lm_free(l);
    return status;
}
