// A network of a family that only this test has: read from a folder, run against PyTorch, and what the network keeps.
#include "../op/formula.h"
#include "data/latent_vectors.h"
#include "devices/devices.h"
#include "latent_family.h"
#include "net/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { WIDTH = 16, SIDE = 6, BATCH = 2, TOKENS = 77, TEXT = 12, LATENTS = BATCH * SIDE * SIDE * 4 };

static char folder[] = "/tmp/lumiere-network-XXXXXX";

static void succeed(lm_status s, const lm_error *e) {
    if (s != LM_OK) fail_msg("%s", e->text);
}

static char *in_folder(const char *name) {
    char *path = lm_format("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

// The file has the names and shapes of the other program, by the formula for each.
static void write_weights(void) {
    lm_error e = {0};
    lm_device *d = NULL;
    lm_network *n = NULL;
    lm_param_block b = {0};
    const latent_config c = {WIDTH};
    char *path = in_folder("config.json");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%d\n", WIDTH);
    fclose(f);
    lm_free(path);
    succeed(lm_device_open(&e, "reference", 1, &d), &e);
    succeed(lm_network_create(&e, d, &latent_family, &c, LM_F32, &n), &e);
    succeed(lm_network_slots(&e, n, &b), &e);
    float *block = calloc((size_t)b.count, sizeof *block);
    assert_non_null(block);
    for (int i = 0; i < b.slot_count; i++) {
        const lm_slot *s = &b.slots[i];
        int64_t count = 1;
        for (int k = 0; k < s->rank; k++) count *= s->dim[k];
        for (int64_t k = 0; k < count; k++)
            block[s->offset + k] =
                (float)formula_weight(s->name, s->rank, count, s->dim[0], formula_name_seed(s->name), k);
    }
    path = in_folder("model.safetensors");
    succeed(lm_weights_save(&e, path, b.slots, b.slot_count, block, LM_ST_F32, NULL, NULL, 0), &e);
    lm_free(path);
    free(block);
    lm_param_block_free(&b);
    lm_network_free(&n);
    lm_device_close(&d);
}

typedef struct inputs {
    float latent[LATENTS], timestep[BATCH], context[BATCH * TOKENS * TEXT], mask[BATCH * TOKENS];
} inputs;

static void fill(float *to, const char *name, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = (float)formula_value(formula_name_seed(name), i);
}

static const inputs *make_inputs(void) {
    static inputs x = {.timestep = {981, 21}};
    fill(x.latent, "latent", LATENTS);
    fill(x.context, "context", BATCH * TOKENS * TEXT);
    for (int i = 0; i < BATCH * TOKENS; i++) x.mask[i] = i < 9 || i >= TOKENS;
    return &x;
}

static const lm_net_use use = {.shape = {.batch = BATCH, .height = SIDE, .width = SIDE, .tokens = TOKENS}};

static lm_status run(lm_error *e, lm_network *n, const lm_weights *w, const inputs *x, float *noise) {
    const lm_feed feeds[] = {{"latent", x->latent}, {"timestep", x->timestep}, {"context", x->context},
                             {"mask", x->mask},     {"unknown", x->mask},      {NULL, NULL}};
    return lm_network_run(e, n, &use, lm_weights_params(w), NULL, feeds,
                          (const lm_fetch[]){{"noise", noise}, {NULL, NULL}});
}

static double error_of(const float *noise) {
    double y[LATENTS];
    for (int i = 0; i < LATENTS; i++) y[i] = (double)noise[i];
    return formula_error(y, LATENTS, latent_record);
}

static void check_parity(const char *name, double most) {
    lm_error e = {0};
    lm_device *d = NULL;
    lm_network *n = NULL;
    lm_weights *w = NULL;
    float noise[LATENTS];
    succeed(lm_device_open(&e, name, 2, &d), &e);
    succeed(lm_network_open(&e, d, &latent_family, folder, LM_F32, &n), &e);
    succeed(lm_network_weights(&e, n, "", NULL, NULL, &w), &e);
    succeed(run(&e, n, w, make_inputs(), noise), &e);
    const double error = error_of(noise);
    print_message("%s: normalised square error %.1e\n", name, error);
    assert_true(error < most);
    lm_weights_let_go(&w);
    lm_network_free(&n);
    lm_device_close(&d);
}

static void another_family_is_as_in_pytorch(void **state) {
    (void)state;
    check_parity("reference", 1e-10);
    check_parity("cpu", 1e-10);
}

static lm_network *opened;
static lm_device *device;

static lm_status negate(lm_error *e, void *user, const lm_param_block *b) {
    (void)e;
    ++*(int *)user;
    for (int i = 0; i < b->slot_count; i++) // the last layer's
        if (!strncmp(b->slots[i].name, "conv_out.", 9))
            for (int64_t k = 0; k < (strstr(b->slots[i].name, "bias") ? 4 : 4 * WIDTH * 9); k++)
                b->data[b->slots[i].offset + k] *= -1;
    return LM_OK;
}

// Two who ask for other weights of one network don't disturb each other, and the same are made once.
static void weights_are_kept_apart(void **state) {
    (void)state;
    lm_error e = {0};
    lm_weights *plain = NULL, *negated = NULL, *again = NULL;
    float a[LATENTS], b[LATENTS], c[LATENTS];
    int changes = 0;
    succeed(lm_network_weights(&e, opened, "", NULL, NULL, &plain), &e);
    succeed(lm_network_weights(&e, opened, "negated", negate, &changes, &negated), &e);
    succeed(lm_network_weights(&e, opened, "negated", negate, &changes, &again), &e);
    assert_int_equal(changes, 1);
    assert_ptr_equal(negated, again);
    for (int round = 0; round < 2; round++) {
        succeed(run(&e, opened, plain, make_inputs(), a), &e);
        succeed(run(&e, opened, negated, make_inputs(), b), &e);
        succeed(run(&e, opened, plain, make_inputs(), c), &e);
        assert_memory_equal(a, c, sizeof a);
        for (int i = 0; i < LATENTS; i++) assert_true(a[i] == -b[i]);
    }
    lm_weights_let_go(&plain);
    lm_weights_let_go(&negated);
    lm_weights_let_go(&again);
}

// Weights in use are never taken away; without room for more the next who asks is refused.
static void weights_in_use_stay(void **state) {
    (void)state;
    lm_error e = {0};
    lm_weights *w[5] = {NULL};
    int changes = 0, got = 0;
    char key[] = "0";
    for (int i = 0; i < 5; i++, key[0]++) got += lm_network_weights(&e, opened, key, negate, &changes, &w[i]) == LM_OK;
    assert_int_equal(got, 3);
    assert_non_null(strstr(e.text, "are in use"));
    lm_weights_let_go(&w[1]);
    lm_error_clear(&e);
    succeed(lm_network_weights(&e, opened, "5", negate, &changes, &w[3]), &e);
    for (int i = 0; i < 5; i++) lm_weights_let_go(&w[i]);
}

static void what_is_missing_is_named(void **state) {
    (void)state;
    lm_error e = {0};
    lm_weights *w = NULL;
    float noise[LATENTS];
    const inputs *x = make_inputs();
    succeed(lm_network_weights(&e, opened, "", NULL, NULL, &w), &e);
    const lm_feed feeds[] = {{"latent", x->latent}, {"context", x->context}, {"mask", x->mask}, {NULL, NULL}};
    assert_int_equal(lm_network_run(&e, opened, &use, lm_weights_params(w), NULL, feeds,
                                    (const lm_fetch[]){{"noise", noise}, {NULL, NULL}}),
                     LM_FAILED);
    assert_non_null(strstr(e.text, "timestep"));
    lm_error_clear(&e);
    const lm_feed whole[] = {
        {"latent", x->latent}, {"context", x->context}, {"mask", x->mask}, {"timestep", x->timestep}, {NULL, NULL}};
    assert_int_equal(lm_network_run(&e, opened, &use, lm_weights_params(w), NULL, whole,
                                    (const lm_fetch[]){{"v", noise}, {NULL, NULL}}),
                     LM_FAILED);
    assert_non_null(strstr(e.text, "no output v"));
    lm_weights_let_go(&w);
}

// Plans are kept by shape, eight of them, and those to be kept whatever comes.
static void plans_are_kept_by_shape(void **state) {
    (void)state;
    lm_error e = {0};
    lm_plan *first, *again;
    lm_net_use u = use;
    u.kept = true;
    succeed(lm_network_plan(&e, opened, &u, &first, NULL), &e);
    for (int tokens = 1; tokens <= 12; tokens++) {
        lm_net_use other = use;
        lm_net_cost before, after;
        other.shape.tokens = tokens;
        succeed(lm_network_cost(&e, opened, &other, &before), &e);
        assert_false(lm_network_has(opened, &other));
        succeed(lm_network_prepare(&e, opened, &other), &e);
        assert_true(lm_network_has(opened, &other));
        succeed(lm_network_cost(&e, opened, &other, &after), &e);
        assert_true(before.flops == after.flops && before.bytes <= after.bytes);
    }
    lm_net_use old = use, recent = use;
    old.shape.tokens = 1;
    recent.shape.tokens = 12;
    assert_false(lm_network_has(opened, &old));
    assert_true(lm_network_has(opened, &recent));
    succeed(lm_network_plan(&e, opened, &u, &again, NULL), &e);
    assert_ptr_equal(first, again);
    lm_network_drop(opened, &recent);
    assert_false(lm_network_has(opened, &recent));
}

static int set_up(void **state) {
    (void)state;
    lm_error e = {0};
    assert_non_null(mkdtemp(folder));
    write_weights();
    succeed(lm_device_open(&e, "cpu", 2, &device), &e);
    succeed(lm_network_open(&e, device, &latent_family, folder, LM_F32, &opened), &e);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        char *path = in_folder(names[i]);
        unlink(path);
        lm_free(path);
    }
    rmdir(folder);
    lm_network_free(&opened);
    lm_device_close(&device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_family_is_as_in_pytorch),
        cmocka_unit_test(weights_are_kept_apart),
        cmocka_unit_test(weights_in_use_stay),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(plans_are_kept_by_shape),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
