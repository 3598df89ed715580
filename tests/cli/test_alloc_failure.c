// Memory that runs out: for every N, the N-th allocation during load, generation or a step of training fails once. Each
// run must end with LUMIERE_MEMORY or, where the allocation was not needed, well; and give back what it took.
//
// malloc and its relatives are replaced in this program. Those calls fail that come from the program itself, into which
// the library is linked, and from jansson. oneDNN and libgomp are left out: they are C++ and runtime code that ends the
// process when memory is short.
#include "cli/tiny_model.h"
#include "devices/devices.h"
#include "pipeline/context.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <link.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
static void allocation_failures_are_clean(void **state) {
    (void)state;
    skip(); // the sanitizer has its own malloc
}
#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

enum { MAX_RANGES = 8, LIVE = 1 << 18 };

static struct { uintptr_t low, high; } ranges[MAX_RANGES]; // code whose allocations count
static int range_count;

// other threads are the device's, which allocate nothing while running, and the one that hashes files
static _Thread_local bool counting;
static long allocations, fail_at;
static void *live[LIVE]; // open addressing; allocations counted and not yet freed
static atomic_long live_count;
static atomic_flag table_taken = ATOMIC_FLAG_INIT;

static void take_table(void) {
    while (atomic_flag_test_and_set(&table_taken)) sched_yield();
}

static size_t slot_of(const void *p) {
    return ((uintptr_t)p >> 4) * 0x9E3779B97F4A7C15u >> 46;
}

static void remember(void *p) {
    if (!p || live_count > LIVE / 2) return;
    take_table();
    size_t i = slot_of(p) % LIVE;
    while (live[i]) i = (i + 1) % LIVE;
    live[i] = p;
    live_count++;
    atomic_flag_clear(&table_taken);
}

static void forget_taken(const void *p) {
    size_t i = slot_of(p) % LIVE;
    while (live[i] && live[i] != p) i = (i + 1) % LIVE;
    if (!live[i]) return;
    live_count--;
    for (size_t j = (i + 1) % LIVE; live[j]; j = (j + 1) % LIVE) { // close the gap
        size_t home = slot_of(live[j]) % LIVE;
        if ((j > i && (home <= i || home > j)) || (j < i && home <= i && home > j)) {
            live[i] = live[j];
            i = j;
        }
    }
    live[i] = NULL;
}

static bool counts(const void *caller) {
    for (int i = 0; counting && i < range_count; i++)
        if ((uintptr_t)caller >= ranges[i].low && (uintptr_t)caller < ranges[i].high) return true;
    return false;
}

static void forget(const void *p) {
    take_table();
    forget_taken(p);
    atomic_flag_clear(&table_taken);
}

// Whether this allocation is the one to fail.
static bool fails(void) {
    allocations++;
    if (allocations != fail_at) return false;
    errno = ENOMEM;
    return true;
}

#define ALLOCATE(call)                                                                                                 \
    if (!counts(__builtin_return_address(0))) return call;                                                             \
    if (fails()) return NULL;                                                                                          \
    void *result = call;                                                                                               \
    remember(result);                                                                                                  \
    return result

void *malloc(size_t size) {
    ALLOCATE(__libc_malloc(size));
}
void *calloc(size_t count, size_t size) {
    ALLOCATE(__libc_calloc(count, size));
}
void *aligned_alloc(size_t align, size_t size) {
    ALLOCATE(__libc_memalign(align, size));
}
void *memalign(size_t align, size_t size) {
    ALLOCATE(__libc_memalign(align, size));
}

int posix_memalign(void **out, size_t align, size_t size) {
    bool counted = counts(__builtin_return_address(0));
    if (counted && fails()) return ENOMEM;
    *out = __libc_memalign(align, size);
    if (counted) remember(*out);
    return *out ? 0 : ENOMEM;
}

void *realloc(void *p, size_t size) {
    if (!counts(__builtin_return_address(0))) return __libc_realloc(p, size);
    if (fails()) return NULL;
    if (p) forget(p);
    void *result = __libc_realloc(p, size);
    remember(result);
    return result;
}

void free(void *p) {
    if (p && live_count) forget(p);
    __libc_free(p);
}

static int add_range(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size, (void)user;
    bool ours = !*info->dlpi_name || strstr(info->dlpi_name, "libjansson");
    for (int i = 0; ours && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) && range_count < MAX_RANGES) {
            ranges[range_count].low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[range_count].high = ranges[range_count].low + info->dlpi_phdr[i].p_memsz;
            range_count++;
        }
    return 0;
}

// All that is done with a request, its message in the context's place.
static lumiere_status use_request(lumiere_context *c, lumiere_model *m, lumiere_request *r, lumiere_status status,
                                  lumiere_clip **out) {
    lumiere_estimate estimate;
    char *recipe = NULL, *json = NULL;
    lumiere_request *again = NULL;
    if (status == LUMIERE_OK) status = lumiere_request_resolve(r, m);
    if (status == LUMIERE_OK) status = lumiere_request_json(r, &json);
    if (status == LUMIERE_OK) status = lumiere_request_set_json(r, json);
    if (status == LUMIERE_OK) status = lumiere_request_estimate(r, m, &estimate);
    if (status == LUMIERE_OK) lumiere_request_get(r, "steps"); // NULL when memory is short
    if (status == LUMIERE_OK) status = lumiere_request_describe(r, m, "{\"note\":\"clip\"}", &recipe);
    if (status == LUMIERE_OK) status = lumiere_request_run(r, m, out);
    lm_error_clear(&c->error);
    if (status != LUMIERE_OK) lm_fail(&c->error, (lm_status)status, "%s", lumiere_request_error(r));
    if (status == LUMIERE_OK && (status = lumiere_request_create_from(recipe, &again)) != LUMIERE_OK)
        lm_fail(&c->error, (lm_status)status, "%s", lumiere_request_error(again));
    lumiere_string_free(&recipe);
    lumiere_string_free(&json);
    lumiere_request_free(&again);
    lumiere_request_free(&r);
    return status;
}

// A task with everything that it may be given.
static lumiere_status make_task(lumiere_context *c, lumiere_model *m, const lumiere_clip *input, lumiere_clip **out) {
    lumiere_request *r = NULL;
    lumiere_status status = lumiere_request_create("inpaint", &r);
    if (status == LUMIERE_OK)
        status = lumiere_request_set_json(r, "{\"prompt\":\"a bee\",\"seed\":1,\"width\":7,\"height\":9,\"loop\":true,"
                                             "\"box\":[2,2,3,4],\"feather\":2,\"input\":\"x\"}");
    if (status == LUMIERE_OK) status = lumiere_request_set_clip(r, "input", input);
    return use_request(c, m, r, status, out);
}

static lumiere_status make_large(lumiere_context *c, lumiere_model *m, const lumiere_clip *clip, lumiere_clip **out) {
    lumiere_request *r = NULL;
    lumiere_status status = lumiere_request_create("upscale", &r);
    if (status == LUMIERE_OK)
        status =
            lumiere_request_set_json(r, "{\"prompt\":\"a bee\",\"steps\":1,\"window\":3,\"overlap\":1,\"tile\":16}");
    if (status == LUMIERE_OK) status = lumiere_request_set_clip(r, "input", clip);
    return use_request(c, m, r, status, out);
}

static lumiere_status make_clip(lumiere_context *c, lumiere_model *m, lumiere_clip **out) {
    lumiere_request *r = NULL;
    lumiere_status status = lumiere_request_create("generate", &r);
    if (status == LUMIERE_OK) status = lumiere_request_set(r, "--prompt", "a bee, moving from left to right");
    if (status == LUMIERE_OK) status = lumiere_request_set(r, "negative_prompt", "a rocket");
    return use_request(c, m, r, status, out);
}

// Everything from an empty process to frames and back. The message is copied, for the context is gone afterwards.
static lumiere_status load_and_generate(const char *folder, char *message, size_t size) {
    const lumiere_context_options machine = {.threads = 1};
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *clip = NULL, *changed = NULL;
    lumiere_status status = lumiere_context_create(&machine, &c);
    if (status == LUMIERE_OK) status = lumiere_model_open(c, folder, &m);
    if (status == LUMIERE_OK) status = make_clip(c, m, &clip);
    if (status == LUMIERE_OK) status = make_task(c, m, clip, &changed);
    snprintf(message, size, "%s", lumiere_error_message(c));
    lumiere_clip_free(&clip);
    lumiere_clip_free(&changed);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return status;
}

static lumiere_status load_and_upscale(const char *folder, char *message, size_t size) {
    const lumiere_context_options machine = {.threads = 1};
    static const uint8_t pixels[4 * 8 * 8 * 3] = {10, 20, 30};
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *clip = NULL, *large = NULL;
    lumiere_status status = lumiere_context_create(&machine, &c);
    if (status == LUMIERE_OK) status = lumiere_model_open(c, folder, &m);
    if (status == LUMIERE_OK) status = lumiere_clip_create(c, 4, 8, 8, 8, pixels, &clip);
    if (status == LUMIERE_OK) status = make_large(c, m, clip, &large);
    snprintf(message, size, "%s", lumiere_error_message(c));
    lumiere_clip_free(&clip);
    lumiere_clip_free(&large);
    lumiere_context_free(&c); // before what was opened in it
    lumiere_model_free(&m);
    return status;
}

// A style by its file and one by its name, a clip in both, and none again.
static lumiere_status run_styles(lumiere_context *c, lumiere_model *m, const char *folder, lumiere_clip **out) {
    char file[300];
    lumiere_clip *plain = NULL;
    lumiere_request *r = NULL;
    snprintf(file, sizeof file, "%s/wild.safetensors", folder);
    lumiere_status status = lumiere_request_create("stylize", &r);
    if (status == LUMIERE_OK) status = lumiere_request_set_json(r, "{\"prompt\":\"a bee\",\"seed\":1,\"steps\":1}");
    if (status == LUMIERE_OK) status = lumiere_request_set(r, "style", file);
    if (status == LUMIERE_OK) status = lumiere_request_set(r, "style", "wild");
    status = use_request(c, m, r, status, out);
    if (status == LUMIERE_OK) status = make_clip(c, m, &plain);
    lumiere_clip_free(&plain);
    return status;
}

static lumiere_status load_and_stylize(const char *folder, char *message, size_t size) {
    const lumiere_context_options machine = {.threads = 1};
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *clip = NULL;
    lumiere_status status = lumiere_context_create(&machine, &c);
    if (status == LUMIERE_OK) status = lumiere_model_open(c, folder, &m);
    if (status == LUMIERE_OK) status = run_styles(c, m, folder, &clip);
    snprintf(message, size, "%s", lumiere_error_message(c));
    lumiere_clip_free(&clip);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return status;
}

// The files of a run checked, and a clip without a rate read.
static lumiere_status check_files(const char *folder, char *message, size_t size) {
    const lumiere_context_options machine = {.threads = 1, .device = "reference"};
    char in[300], out[4][300];
    snprintf(in, sizeof in, "%s/in.npy", folder);
    static const char *const names[] = {"link.npy", "out.gif", "frames/", "absent.npy"};
    for (int i = 0; i < 4; i++) snprintf(out[i], sizeof out[i], "%s/%s", folder, names[i]);
    const lumiere_file files[] = {{"in", in, .recipe = true},
                                  {"a", out[0], true, true},
                                  {"b", out[1], true, true},
                                  {"c", out[2], true, true},
                                  {"d", out[3], true, true}};
    lumiere_context *c = NULL;
    lumiere_clip *clip = NULL;
    lumiere_status status = lumiere_context_create(&machine, &c);
    for (int round = 0; round < 3; round++) {
        if (status == LUMIERE_OK) status = lumiere_files_check(c, files, 5);
        for (int i = 0; i < 4 && status == LUMIERE_OK; i++)
            status = lumiere_output_check_for(c, out[i], &(lumiere_output_shape){.frames = 3, .recipe = true});
        if (status == LUMIERE_OK) status = lumiere_clip_read(c, in, &clip);
        lumiere_clip_free(&clip);
    }
    snprintf(message, size, "%s", lumiere_error_message(c));
    lumiere_context_free(&c);
    return status;
}

static void make_files(const char *folder) {
    static const uint8_t pixels[2 * 4 * 4 * 3];
    char path[300];
    lumiere_context *c;
    lumiere_clip *clip;
    assert_int_equal(lumiere_context_create(NULL, &c), LUMIERE_OK);
    assert_int_equal(lumiere_clip_create(c, 2, 4, 4, 0, pixels, &clip), LUMIERE_OK);
    snprintf(path, sizeof path, "%s/in.npy", folder);
    assert_int_equal(lumiere_clip_write(c, clip, path, "{\"fps\":8}"), LUMIERE_OK);
    snprintf(path, sizeof path, "%s/link.npy", folder);
    assert_int_equal(symlink("there.npy", path), 0);
    lumiere_clip_free(&clip);
    lumiere_context_free(&c);
}

// A step of Muon over matrices of many shapes.
static lumiere_status step_by_muon(const char *device, char *message, size_t size) {
    enum { SHAPES = 16, LEAST = 10, MOST = 40 };
    static float block[4][MOST * 200];
    lm_matrix_shape shapes[SHAPES];
    lm_muon_matrix matrices[SHAPES];
    for (int i = 0; i < SHAPES; i++) {
        shapes[i] = (lm_matrix_shape){LEAST + i, i % 2 ? 200 : 12};
        matrices[i] = (lm_muon_matrix){block[0], block[1], block[2], block[3], 0.1f};
    }
    const lm_muon rule = {.momentum = 0.9f, .clip = 1};
    lm_error e = {0};
    lm_device *d = NULL;
    lm_muon_work *work = NULL;
    lm_status status = lm_device_open(&e, device, 1, &d);
    if (status == LM_OK) status = d->backend->muon_prepare(&e, d, shapes, SHAPES, LM_MUON_QUICK, false, &work);
    if (status == LM_OK) status = d->backend->muon(&e, d, work, &rule, matrices);
    if (work) d->backend->muon_release(d, work);
    lm_device_close(&d);
    snprintf(message, size, "%s", e.text);
    return (lumiere_status)status;
}

typedef lumiere_status (*way)(const char *folder, char *message, size_t size);

static lumiere_status run_failing(way go, long n, const char *folder, char *message, size_t size) {
    allocations = 0;
    fail_at = n;
    counting = true;
    lumiere_status status = go(folder, message, size);
    counting = false;
    return status;
}

static void fail_each(way go, const char *folder, long least) {
    char message[512];
    assert_int_equal(run_failing(go, 0, folder, message, sizeof message), LUMIERE_OK);
    assert_int_equal(live_count, 0);
    long total = allocations, survived = 0;
    assert_true(total >= least);
    for (long n = 1; n <= total; n++) {
        lumiere_status status = run_failing(go, n, folder, message, sizeof message);
        survived += status == LUMIERE_OK;
        if (status != LUMIERE_OK && status != LUMIERE_MEMORY)
            fail_msg("allocation %ld of %ld failed: status %d, \"%s\"", n, total, (int)status, message);
        if (status == LUMIERE_MEMORY && !*message) fail_msg("allocation %ld of %ld failed: no message", n, total);
        if (live_count) fail_msg("allocation %ld of %ld failed: %ld others were not given back", n, total, live_count);
    }
    print_message("%ld allocations failed, one at a time; %ld of them were not needed\n", total, survived);
}

static void allocation_failures_are_clean(void **state) {
    (void)state;
    char *work = temporary_make(), folder[256], style[300];
    dl_iterate_phdr(add_range, NULL);
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    fail_each(load_and_generate, folder, 100);
    snprintf(style, sizeof style, "%s/wild.safetensors", folder);
    tiny_model_write_style(folder, style);
    tiny_model_name_style(folder, "wild", "wild.safetensors");
    fail_each(load_and_stylize, folder, 100);
    tiny_model_add_ssr(folder);
    fail_each(load_and_upscale, folder, 100);
    make_files(folder);
    fail_each(check_files, folder, 100);
    fail_each(step_by_muon, "cpu", 40);
    fail_each(step_by_muon, "reference", 7);
    temporary_remove(work);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocation_failures_are_clean)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
