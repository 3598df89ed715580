// Batches made ahead: what a long training takes of memory.
#include "base/memory.h"
#include "train/prefetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

static double resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    long pages = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

// Captions are kept, as the cache of text states does: such a copy may lie where a batch's caption was, between
// batches.
static char *kept[1 << 14];
static int kept_count;

static void take(lm_prefetch *p, int batches) {
    lm_error e = {0};
    for (int i = 0; i < batches; i++) {
        lm_train_batch b;
        if (lm_prefetch_next(&e, p, &b) != LM_OK) fail_msg("%s", e.text);
        for (int k = 0; k < b.data.clips; k++) kept[kept_count++] = lm_strdup(b.data.captions[k]);
        usleep(12000); // a step, in which the next batches are made
        lm_train_batch_free(&b);
    }
}

// What is freed must be fit to be used for the next batch: a run of days makes millions of them.
static void memory_does_not_grow_with_batches(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); // the sanitizers have their own malloc
#endif
    lm_error e = {0};
    const char *path = LM_SOURCE_DIR "/data/emoji/stills-flat-mono.tar";
    lm_dataset *d;
    lm_prefetch *p;
    const lm_dataset_options o = {.paths = &path, .path_count = 1, .style = "flat", .size = 32, .threads = 1};
    if (lm_dataset_open(&e, &o, &d) != LM_OK) fail_msg("%s", e.text);
    const lm_batch_options batch = {.split = LM_SPLIT_TRAIN,
                                    .clips = 16,
                                    .frames = 1,
                                    .motion_share = 0.5,
                                    .motion_caption_share = 1,
                                    .color_share = 0.5,
                                    .moment_share = 0.8,
                                    .words = {0.3, 0.5},
                                    .seed = 3};
    if (lm_prefetch_create(&e, d, &batch, 0, &p) != LM_OK) fail_msg("%s", e.text);
    take(p, 100);
    const double before = resident();
    take(p, 300);
    print_message("300 batches of 0.6 MB took %.1f MB more\n", (resident() - before) / 1e6);
    assert_true(resident() - before < 8e6);
    lm_prefetch_free(&p);
    lm_dataset_free(&d);
    while (kept_count) lm_free(kept[--kept_count]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_does_not_grow_with_batches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
