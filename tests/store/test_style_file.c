// Style files: what is written comes back within the file's error, which files are refused and why.
#include "store_test.h"

#include "base/memory.h"
#include "base/random.h"
#include "store/style_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 5, FLOATS = 8000 };

// A network in small: a convolution, a matrix, a vector, a temporal layer, a matrix too thin for factors.
static const lm_slot slots[SLOTS] = {
    {.name = "res.conv.weight", .rank = 4, .dim = {24, 16, 3, 3}, .offset = 0},
    {.name = "attn.qkv.weight", .rank = 2, .dim = {48, 40}, .offset = 3456},
    {.name = "norm.bias", .rank = 1, .dim = {24}, .offset = 5376},
    {.name = "temporal.time.weight", .rank = 3, .dim = {24, 24, 3}, .offset = 5400},
    {.name = "out.weight", .rank = 2, .dim = {2, 40}, .offset = 7128},
};
static float original[FLOATS], styled[FLOATS], made[FLOATS];

static bool is_temporal(const char *name) {
    return strstr(name, "temporal") != NULL;
}

// Slot 0 moves by a matrix of rank 2 and some noise, the others by noise.
static int make(void **state) {
    float u[2 * 24], v[2 * 144];
    lm_random_normal(original, FLOATS, 1, LM_FOR_TEST, 0, 0, 0);
    lm_random_normal(styled, FLOATS, 1, LM_FOR_TEST, 1, 0, 0);
    lm_random_normal(u, 2 * 24, 1, LM_FOR_TEST, 2, 0, 0);
    lm_random_normal(v, 2 * 144, 1, LM_FOR_TEST, 3, 0, 0);
    for (int i = 0; i < FLOATS; i++) {
        styled[i] = original[i] + 0.01f * styled[i];
        for (int k = 0; k < 2 && i < 3456; k++) styled[i] += 0.1f * u[k * 24 + i / 144] * v[k * 144 + i % 144];
    }
    return make_folder(state);
}

static const lm_style_facts facts = {.name = "chalk", .licence = "MIT", .made_from = "4 pictures", .rank = 2};

static char *write_style(const char *folder, const lm_style_facts *of) {
    lm_error e = {0};
    char *path = in_folder(folder, "s.safetensors");
    assert_status(&e, LM_OK, lm_style_write(&e, path, slots, SLOTS, is_temporal, styled, original, of));
    return path;
}

static lm_style *open_style(const char *path) {
    lm_error e = {0};
    lm_style *s;
    assert_status(&e, LM_OK, lm_style_open(&e, path, &s));
    return s;
}

static void base_hash(const float *block, char out[17]) {
    lm_error e = {0};
    assert_status(&e, LM_OK, lm_style_base_hash(&e, slots, SLOTS, is_temporal, block, out));
}

static void add(const lm_style *s, double alpha, float *block) {
    lm_error e = {0};
    char base[17];
    base_hash(original, base);
    assert_status(&e, LM_OK, lm_style_add(&e, s, slots, SLOTS, is_temporal, base, alpha, block));
}

// ||made - styled|| / ||styled - original|| over one slot.
static double relative_error(const lm_slot *slot) {
    double error = 0, size = 0;
    int64_t n = 1;
    for (int i = 0; i < slot->rank; i++) n *= slot->dim[i];
    for (int64_t i = slot->offset; i < slot->offset + n; i++) {
        error += pow((double)made[i] - (double)styled[i], 2);
        size += pow((double)styled[i] - (double)original[i], 2);
    }
    return sqrt(error / size);
}

static void a_style_comes_back(void **state) {
    char *path = write_style(*state, &facts), base[17];
    lm_style *s = open_style(path);
    const lm_style_facts found = lm_style_describe(s);
    base_hash(original, base);
    assert_string_equal(found.name, "chalk");
    assert_string_equal(found.licence, "MIT");
    assert_string_equal(found.made_from, "4 pictures");
    assert_int_equal(found.rank, 2);
    assert_string_equal(lm_style_base(s), base);
    assert_int_equal(strlen(lm_style_hash(s)), 16);
    memcpy(made, original, sizeof made);
    add(s, 1, made);
    double conv = relative_error(&slots[0]);
    assert_true(conv < 0.08 && conv > 0.01);                                        // the noise is left out
    assert_true(relative_error(&slots[2]) < 1e-5);                                  // a vector is whole
    assert_true(relative_error(&slots[4]) < 0.012);                                 // 8-bit rows
    assert_memory_equal(made + 5400, original + 5400, 24 * 24 * 3 * sizeof(float)); // temporal
    lm_style_free(&s);
    lm_free(path);
}

static void alpha_zero_changes_no_bit_and_alphas_add_up(void **state) {
    char *path = write_style(*state, &facts);
    lm_style *s = open_style(path);
    static float whole[FLOATS];
    memcpy(made, original, sizeof made);
    add(s, 0, made);
    assert_memory_equal(made, original, sizeof made);
    memcpy(whole, original, sizeof whole);
    add(s, 1, whole);
    add(s, 0.25, made);
    for (int i = 0; i < FLOATS; i++) {
        double want = 0.25 * (double)whole[i] + 0.75 * (double)original[i];
        assert_true(fabs((double)made[i] - want) < 1e-6);
    }
    lm_style_free(&s);
    lm_free(path);
}

static long size_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (long)info.st_size;
}

// What docs/style.md says of the two ways: rows keep everything to within 1 %, factors only what is of low rank, in a
// fraction of the bytes.
static void eight_bit_rows_are_exact_and_large(void **state) {
    char *path = write_style(*state, &facts);
    long factors = size_of(path);
    lm_style_facts rows = facts;
    rows.rank = 0;
    lm_free(path);
    path = write_style(*state, &rows);
    assert_true(size_of(path) - factors > 4000);
    lm_style *s = open_style(path);
    memcpy(made, original, sizeof made);
    add(s, 1, made);
    for (int i = 0; i < SLOTS; i++)
        if (!is_temporal(slots[i].name)) assert_true(relative_error(&slots[i]) < 0.012);
    lm_style_free(&s);
    lm_free(path);
}

static void the_base_is_known_by_its_image_layers(void **state) {
    (void)state;
    static float other[FLOATS];
    char first[17], second[17];
    lm_slot turned[SLOTS];
    memcpy(other, original, sizeof other);
    base_hash(original, first);
    other[5400] += 1; // a temporal weight
    base_hash(other, second);
    assert_string_equal(first, second);
    other[0] = nextafterf(other[0], 9);
    base_hash(other, second);
    assert_string_not_equal(first, second);
    for (int i = 0; i < SLOTS; i++) turned[i] = slots[SLOTS - 1 - i];
    lm_error e = {0};
    assert_status(&e, LM_OK, lm_style_base_hash(&e, turned, SLOTS, is_temporal, original, second));
    assert_string_equal(first, second);
}

// ---- defects ----

enum { MOST_TENSORS = 16 };

// A file by hand: a good one, which a defect spoils.
typedef struct file {
    lm_to_store tensors[MOST_TENSORS];
    int count;
    const char *keys[8], *values[8];
    int metadata;
    char base[17];
} file;

static void fill_file(file *f) {
    static const char *const keys[] = {"kind", "format", "name", "licence", "made_from", "base_hash", "rank"};
    *f = (file){.metadata = 7, .count = 5};
    base_hash(original, f->base);
    const char *values[] = {"lumiere-style", "1", "chalk", "MIT", "4 pictures", f->base, "2"};
    memcpy(f->keys, keys, sizeof keys);
    memcpy(f->values, values, sizeof values);
    f->tensors[0] = (lm_to_store){"res.conv.weight.left", 2, {2, 24}, styled, LM_ST_F32};
    f->tensors[1] = (lm_to_store){"res.conv.weight.right", 4, {2, 16, 3, 3}, styled, LM_ST_F32};
    f->tensors[2] = (lm_to_store){"attn.qkv.weight", 2, {48, 40}, styled, LM_ST_I8};
    f->tensors[3] = (lm_to_store){"norm.bias", 1, {24}, styled, LM_ST_F32};
    f->tensors[4] = (lm_to_store){"out.weight", 2, {2, 40}, styled, LM_ST_F16};
}

static lm_status use_file(const char *folder, const file *f, lm_error *e) {
    char *path = in_folder(folder, "defect.safetensors");
    assert_status(e, LM_OK, lm_safetensors_write(e, path, f->tensors, f->count, f->keys, f->values, f->metadata));
    lm_style *s = NULL;
    char base[17];
    base_hash(original, base);
    lm_status status = lm_style_open(e, path, &s);
    memcpy(made, original, sizeof made);
    if (status == LM_OK) status = lm_style_add(e, s, slots, SLOTS, is_temporal, base, 1, made);
    lm_style_free(&s);
    lm_free(path);
    return status;
}

static void expect_refused(const char *folder, const file *f, const char *what) {
    lm_error e = {0};
    lm_status status = use_file(folder, f, &e);
    if (status != LM_MODEL) fail_msg("a file that should be refused (\"%s\") gave status %d", what, status);
    assert_message(&e, what);
    assert_message(&e, "defect.safetensors");
}

static void set_value(file *f, const char *key, const char *value) {
    for (int i = 0; i < f->metadata; i++)
        if (!strcmp(f->keys[i], key)) f->values[i] = value;
}

static void wrong_metadata_are_refused(void **state) {
    static const char *const cases[][3] = {
        {"kind", "other", "is not a style"},
        {"format", "2", "style format \"2\" is unknown"},
        {"name", "", "have no \"name\""},
        {"name", "Chalk!", "can't be called 'Chalk!'"},
        {"licence", "", "have no \"licence\""},
        {"made_from", "", "have no \"made_from\""},
        {"base_hash", "12ab", "base_hash \"12ab\" is not 16 hex digits"},
        {"base_hash", "0123456789abcdef", "was made for another base network, 0123456789abcdef"},
        {"rank", "-1", "rank \"-1\" is not a whole number"},
        {"rank", "257", "rank \"257\" is not a whole number from 0 to 256"},
        {"rank", "99999999999999999999", "is not a whole number"},
    };
    file f;
    lm_error e = {0};
    fill_file(&f);
    assert_status(&e, LM_OK, use_file(*state, &f, &e));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill_file(&f);
        set_value(&f, cases[i][0], cases[i][1]);
        expect_refused(*state, &f, cases[i][2]);
    }
    fill_file(&f);
    f.metadata = 0;
    expect_refused(*state, &f, "is not a style");
    fill_file(&f);
    f.metadata = 6; // "rank" is the last
    expect_refused(*state, &f, "have no \"rank\"");
}

static void wrong_tensors_are_refused(void **state) {
    static const float infinite[2 * 40] = {[7] = INFINITY};
    static float huge[2 * 144];
    file f;
    fill_file(&f);
    f.count = 4;
    expect_refused(*state, &f, "tensor 'out.weight' is missing");
    fill_file(&f);
    f.tensors[5] = (lm_to_store){"temporal.time.weight", 3, {24, 24, 3}, styled, LM_ST_F32};
    f.count = 6;
    expect_refused(*state, &f, "'temporal.time.weight' is not of one of the network's image layers");
    f.tensors[5].name = "res.conv.weight";
    expect_refused(*state, &f, "'res.conv.weight' is there as a whole and as a product");
    fill_file(&f);
    f.tensors[0] = f.tensors[--f.count]; // no .left
    expect_refused(*state, &f, "'res.conv.weight' has but one of its factors");
    fill_file(&f);
    f.tensors[3].dim[0] = 23;
    expect_refused(*state, &f, "'norm.bias' has not the shape");
    fill_file(&f);
    f.tensors[0].dim[0] = 3; // the other factor has 2
    expect_refused(*state, &f, "'res.conv.weight' has factors that don't make");
    fill_file(&f);
    f.tensors[1].dim[1] = 8;
    expect_refused(*state, &f, "'res.conv.weight' has factors that don't make");
    fill_file(&f);
    f.tensors[0].dim[0] = f.tensors[1].dim[0] = 0;
    expect_refused(*state, &f, "'res.conv.weight' has factors that don't make");
    fill_file(&f);
    f.tensors[0].dim[0] = f.tensors[1].dim[0] = 25; // more than its 24 rows
    expect_refused(*state, &f, "'res.conv.weight' has factors that don't make");
    fill_file(&f);
    f.tensors[4].data = infinite;
    expect_refused(*state, &f, "'out.weight' holds a value that is not a finite number");
    fill_file(&f);
    f.tensors[2].type = LM_ST_I32;
    expect_refused(*state, &f, "'attn.qkv.weight' has the type I32");
    fill_file(&f);
    for (int i = 0; i < 2 * 144; i++) huge[i] = 3e38f;
    f.tensors[0].data = f.tensors[1].data = huge;
    expect_refused(*state, &f, "'res.conv.weight' makes a weight that is not a finite number");
}

static void damaged_files_are_refused(void **state) {
    char *path = write_style(*state, &facts);
    lm_error e = {0};
    lm_style *s;
    assert_int_equal(truncate(path, size_of(path) - 1), 0);
    assert_status(&e, LM_MODEL, lm_style_open(&e, path, &s));
    assert_null(s);
    assert_message(&e, "s.safetensors");
    assert_int_equal(unlink(path), 0);
    lm_error_clear(&e);
    assert_status(&e, LM_MODEL, lm_style_open(&e, path, &s));
    assert_message(&e, "can't read");
    lm_free(path);
}

static void impossible_styles_are_not_written(void **state) {
    lm_style_facts wrong = facts;
    lm_error e = {0};
    char *path = in_folder(*state, "none.safetensors");
    wrong.name = "no spaces";
    assert_status(&e, LM_USAGE, lm_style_write(&e, path, slots, SLOTS, is_temporal, styled, original, &wrong));
    wrong = facts;
    wrong.rank = LM_STYLE_MOST_RANK + 1;
    lm_error_clear(&e);
    assert_status(&e, LM_USAGE, lm_style_write(&e, path, slots, SLOTS, is_temporal, styled, original, &wrong));
    assert_int_equal(access(path, F_OK), -1);
    lm_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_style_comes_back),
        cmocka_unit_test(alpha_zero_changes_no_bit_and_alphas_add_up),
        cmocka_unit_test(eight_bit_rows_are_exact_and_large),
        cmocka_unit_test(the_base_is_known_by_its_image_layers),
        cmocka_unit_test(wrong_metadata_are_refused),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(impossible_styles_are_not_written),
    };
    return cmocka_run_group_tests(tests, make, remove_folder);
}
