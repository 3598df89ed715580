#include "cli/tiny_pair.h"

#include "cli/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static lumiere_model *open_model(lumiere_context *c, const char *folder) {
    lumiere_model *m;
    if (lumiere_model_open(c, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    return m;
}

void tiny_pair_open(tiny_pair *p, int threads) {
    const lumiere_context_options o = {.threads = threads, .precision = "fp32"};
    *p = (tiny_pair){.work = temporary_make()};
    snprintf(p->large_path, sizeof p->large_path, "%s/tiny", p->work);
    snprintf(p->small_path, sizeof p->small_path, "%s/plain", p->work);
    tiny_model_make(p->small_path);
    tiny_model_make(p->large_path);
    tiny_model_add_ssr(p->large_path);
    assert_int_equal(lumiere_context_create(&o, &p->context), LUMIERE_OK);
    p->large = open_model(p->context, p->large_path);
    p->small = open_model(p->context, p->small_path);
}

void tiny_pair_close(tiny_pair *p) {
    lumiere_model_free(&p->large);
    lumiere_model_free(&p->small);
    lumiere_context_free(&p->context);
    temporary_remove(p->work);
}
