// Moved sprites against the executable specification, and captions.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "train_data.h"

#include "base/files.h"
#include "base/memory.h"
#include "train/captions.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 64, FRAMES = 10 };

// Reads the next numbers of scenes.bin, every stride-th of out, and returns the largest difference.
static double compare(const float *out, int64_t n, int stride, const uint8_t **at) {
    double worst = 0;
    for (int64_t i = 0; i < n; i += stride, *at += 2) {
        double wanted = ((*at)[0] | (*at)[1] << 8) / 32767.5 - 1, off = fabs(out[i] - wanted);
        if (!(off <= worst)) worst = off;
    }
    return worst;
}

static void test_scenes_match_the_specification(void **state) {
    (void)state;
    lm_error e = {0};
    lm_sprite sprite = {0};
    make_formula_sprite(5, SIDE, &sprite);
    uint8_t *vectors;
    size_t size;
    assert_int_equal(lm_file_read(&e, LM_TEST_DATA "/train/scenes.bin", 1 << 20, LM_MEDIA, &vectors, &size), LM_OK);
    const uint8_t *at = vectors;
    float *scratch = lm_alloc(lm_scene_scratch(SIDE), sizeof(float));
    float *out = lm_alloc(FRAMES * SIDE * SIDE * 3, sizeof(float));
    static const int firsts[] = {0, 35, 70};
    for (int motion = 0; motion < LM_MOTIONS; motion++)
        for (int k = 0; k < 3; k++)
            for (int side = SIDE; side >= SIDE / 2; side /= 2) {
                lm_scene scene = {&sprite, motion, (3 * motion + k) % LM_COLORS, firsts[k], motion ? 0 : 3};
                lm_scene_render(&scene, FRAMES, side, scratch, out);
                double worst = compare(out, FRAMES * side * side * 3, side == SIDE ? 127 : 31, &at);
                if (!(worst < 2e-3))
                    fail_msg("%s, from %d, size %d: %g", lm_motion_names[motion], firsts[k], side, worst);
            }
    assert_ptr_equal(at, vectors + size);
    lm_free(scratch);
    lm_free(out);
    lm_free(vectors);
    lm_sprite_clear(&sprite);
}

static void test_resting_sprite_is_an_exact_copy(void **state) {
    (void)state;
    lm_sprite sprite = {0};
    make_formula_sprite(3, 20, &sprite);
    float *scratch = lm_alloc(lm_scene_scratch(20), sizeof(float)), *out = lm_alloc(2 * 20 * 20 * 3, sizeof(float));
    lm_scene scene = {&sprite, 0, 7, 79 - 1, 2};
    lm_scene_render(&scene, 2, 20, scratch, out);
    for (int i = 0; i < 2 * 400; i++)
        for (int c = 0; c < 3; c++) {
            const uint8_t *p = sprite.data + ((80 + i / 400) % 3 * 400 + i % 400) * 4;
            float mix = (float)p[c] / 255.0f, alpha = (float)p[3] / 255.0f, back = (float)lm_colors[7].rgb[c] / 255.0f;
            float wanted = (mix + (1 - alpha) * back) * 2 - 1;
            assert_true(out[i * 3 + c] == (wanted > 1 ? 1 : wanted));
        }
    lm_free(scratch);
    lm_free(out);
    lm_sprite_clear(&sprite);
}

static char *words[] = {"a red bee", "bee, insect"};
static double caption_share;

static char *caption(const lm_sprite *s, int motion, int color, uint32_t item) {
    lm_stream random = {.seed = 5, .purpose = LM_FOR_TEST, .item = item};
    char *text = lm_caption_compose(s, motion, color, &(lm_caption_shares){0, caption_share}, &random);
    assert_non_null(text);
    return text;
}

typedef struct expectation {
    const char *text;
    double share;
} expectation;

// Every caption drawn is one of the list, and each comes as often as it should.
static void check_shares(const lm_sprite *s, int motion, int color, const expectation *list, int count) {
    enum { DRAWS = 6000 };
    int seen[8] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        char *text = caption(s, motion, color, i);
        int k = 0;
        while (k < count && strcmp(text, list[k].text)) k++;
        if (k == count) fail_msg("'%s' was not expected", text);
        seen[k]++;
        lm_free(text);
    }
    for (int k = 0; k < count; k++) { // five standard deviations
        double share = (double)seen[k] / DRAWS, p = list[k].share;
        if (fabs(share - p) > 5 * sqrt(p * (1 - p) / DRAWS)) fail_msg("'%s': %g, not %g", list[k].text, share, p);
    }
}

static void test_captions(void **state) {
    (void)state;
    lm_sprite still = {.captions = words, .caption_count = 2, .frames = 1, .motion = (char *)"flying"};
    static const expectation white[] = {{"a red bee", 0.35},
                                        {"bee, insect", 0.35},
                                        {"a red bee, on a white background", 0.15},
                                        {"bee, insect, on a white background", 0.15}};
    check_shares(&still, 0, 0, white, 4);
    static const expectation teal[] = {{"a red bee, on a teal background", 0.5},
                                       {"bee, insect, on a teal background", 0.5}};
    check_shares(&still, 0, 12, teal, 2);
    static const expectation moved[] = {{"a red bee, spinning clockwise, on a light blue background", 0.5},
                                        {"bee, insect, spinning clockwise, on a light blue background", 0.5}};
    check_shares(&still, 6, 8, moved, 2);
}

static void test_captions_of_clips_name_their_own_motion(void **state) {
    (void)state;
    lm_sprite clip = {.captions = words, .caption_count = 1, .frames = 9, .motion = (char *)"flying in circles"};
    static const expectation own[] = {{"a red bee, on a gray background", 0.5},
                                      {"a red bee, flying in circles, on a gray background", 0.5}};
    check_shares(&clip, 0, 2, own, 2);
    static const expectation moved[] = {{"a red bee, growing bigger, on a black background", 1}};
    check_shares(&clip, 8, 1, moved, 1);
    clip.motion = (char *)"red"; // said already
    static const expectation said[] = {{"a red bee, on a gray background", 1}};
    check_shares(&clip, 0, 2, said, 1);
    clip.motion = NULL;
    check_shares(&clip, 0, 2, said, 1);
}

static void test_names(void **state) {
    (void)state;
    for (int i = 1; i < LM_MOTIONS; i++) assert_true(strlen(lm_motion_names[i]) > 5);
    assert_string_equal(lm_motion_names[0], "");
    assert_string_equal(lm_motion_names[12], "zigzagging across");
    assert_string_equal(lm_colors[0].name, "white");
    assert_string_equal(lm_colors[11].name, "brown");
}

static void test_caption_share(void **state) {
    (void)state;
    lm_sprite still = {.captions = words, .caption_count = 2, .frames = 1};
    static const expectation some[] = {{"a red bee, on a blue background", 0.8},
                                       {"bee, insect, on a blue background", 0.2}};
    static const expectation none[] = {{"a red bee, on a blue background", 1}};
    caption_share = 0.6;
    check_shares(&still, 0, 7, some, 2);
    caption_share = 1;
    check_shares(&still, 0, 7, none, 1);
    caption_share = 0;
}

// Of captions that are all told in other words: how often the subject comes first, and which words are met.
static void test_wordings(void **state) {
    (void)state;
    enum { DRAWS = 12000, BLUE = 7, BOUNCING = 5, WAYS = 5 };
    static const char *const ways[WAYS] = {"bouncing like a ball", "leaping up and down", "springing up and down",
                                           "bobbing up and down", "bouncing"};
    static const char *const subjects[] = {"a drawing of a red bee", "the red bee", "a cute red bee",
                                           "there is a red bee"};
    lm_sprite still = {.captions = words, .caption_count = 1, .frames = 1};
    int first = 0, seen[WAYS] = {0}, of_subject[4] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        lm_stream random = {.seed = 5, .purpose = LM_FOR_TEST, .item = i};
        char *text = lm_caption_compose(&still, BOUNCING, BLUE, &(lm_caption_shares){1, 0}, &random);
        const char *bee = strstr(text, "red bee"), *blue = strstr(text, "blue"), *moves = NULL;
        for (int k = 0; k < WAYS && !moves; k++)
            if ((moves = strstr(text, ways[k]))) seen[k]++;
        for (int k = 0; k < 4; k++) of_subject[k] += strstr(text, subjects[k]) != NULL;
        int commas = 0;
        for (const char *p = text; *p; p++) commas += *p == ',';
        if (!bee || !blue || !moves || commas != 2) fail_msg("'%s' does not say all that it should", text);
        first += bee < blue && bee < moves;
        lm_free(text);
    }
    const double five = 5 / sqrt(DRAWS); // five standard deviations of a share, at most
    assert_true(fabs(first - DRAWS * 2.0 / 3) < five * DRAWS);
    for (int k = 0; k < WAYS; k++) assert_true(fabs(seen[k] - DRAWS / 5.0) < five * DRAWS);
    for (int k = 0; k < 4; k++) assert_true(fabs(of_subject[k] - DRAWS / 9.0) < five * DRAWS);
}

// What is not said leaves no comma.
static void test_wordings_of_a_plain_picture(void **state) {
    (void)state;
    char *list[] = {"bee"};
    lm_sprite still = {.captions = list, .caption_count = 1, .frames = 1};
    for (uint32_t i = 0; i < 500; i++) {
        lm_stream random = {.seed = 6, .purpose = LM_FOR_TEST, .item = i};
        char *text = lm_caption_compose(&still, 0, 0, &(lm_caption_shares){1, 0}, &random);
        bool colored = strstr(text, "white") != NULL, comma = strchr(text, ',') != NULL;
        if (!strstr(text, "bee") || colored != comma) fail_msg("'%s'", text);
        lm_free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes_match_the_specification),
        cmocka_unit_test(test_resting_sprite_is_an_exact_copy),
        cmocka_unit_test(test_captions),
        cmocka_unit_test(test_caption_share),
        cmocka_unit_test(test_wordings),
        cmocka_unit_test(test_wordings_of_a_plain_picture),
        cmocka_unit_test(test_captions_of_clips_name_their_own_motion),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
