// The data set as the trainer sees it: splits, batches as pure functions of the step, folders of clips, refusals.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "train_data.h"

#include "base/files.h"
#include "base/memory.h"
#include "media/media.h"
#include "net/families/unet.h"
#include "train/augment.h"
#include "train/dataset.h"
#include "train/shards.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STILLS = 3, SPRITES = 4 }; // of the made-up shard: three stills and a clip

static char folder[64] = "/tmp/lumiere-dataset-XXXXXX";

static char *in_folder(const char *name) {
    char *path = lm_format("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size) {
    char *path = in_folder(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    lm_free(path);
}

static const char clip_json[] = "{\"subject\":\"1f3ce\",\"caption\":\"a racing car\",\"paraphrases\":[\"car, racing\"],"
                                "\"size\":64,\"motion\":\"racing\",\"frames\":48}";

// data.tar: three stills and a clip of 64 x 64, all of subjects to train on.
static void write_shard(void) {
    lm_sprite sprite = {0};
    make_formula_sprite(STILLS, 64, &sprite);
    tar_file files[2 * SPRITES];
    char names[SPRITES][2][8], json[STILLS][200];
    for (int i = 0; i < STILLS; i++) {
        snprintf(names[i][0], 8, "%d.webp", i);
        snprintf(names[i][1], 8, "%d.json", i);
        snprintf(json[i], sizeof json[i],
                 "{\"subject\":\"%d\",\"caption\":\"still %d\",\"paraphrases\":[],\"styles\":[\"3d\"],"
                 "\"size\":64,\"frames\":1}",
                 i, i);
        size_t size;
        uint8_t *webp = make_webp(sprite.data + i * 64 * 64 * 4, 64, 64, &size);
        files[2 * i] = (tar_file){names[i][0], webp, size, NULL};
        files[2 * i + 1] = (tar_file){names[i][1], json[i], strlen(json[i]), NULL};
    }
    size_t clip_size, size;
    uint8_t *clip = first_file_of_tar(LM_SOURCE_DIR "/data/emoji/train-anim-000.tar", &clip_size);
    files[6] = (tar_file){"c.webm", clip, clip_size, NULL};
    files[7] = (tar_file){"c.json", clip_json, sizeof clip_json - 1, NULL};
    uint8_t *tar = make_tar(files, 2 * SPRITES, &size);
    write_file("data.tar", tar, size);
    for (int i = 0; i < STILLS; i++) lm_free((void *)files[2 * i].bytes);
    lm_free(clip);
    lm_free(tar);
    lm_sprite_clear(&sprite);
}

static int prepare(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return 1;
    write_shard();
    return 0;
}

static int clean_up(void **state) {
    (void)state;
    char *command = lm_format("rm -r '%s'", folder);
    int r = system(command);
    lm_free(command);
    return r;
}

static lm_dataset *open_shard(int size) {
    lm_error e = {0};
    char *path = in_folder("data.tar");
    const char *paths[] = {path};
    lm_dataset *d;
    lm_dataset_options o = {.paths = paths, .path_count = 1, .style = "3d", .size = size, .threads = 2};
    if (lm_dataset_open(&e, &o, &d) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return d;
}

static lm_batch_options video_options(int clips, int frames) {
    return (lm_batch_options){.split = LM_SPLIT_TRAIN,
                              .clips = clips,
                              .frames = frames,
                              .motion_share = 0.5,
                              .color_share = 0.5,
                              .caption_dropout = 0.1,
                              .condition = true,
                              .condition_share = 1,
                              .seed = 11};
}

static lm_batch draw(const lm_dataset *d, const lm_batch_options *o, uint32_t step) {
    lm_error e = {0};
    lm_batch b;
    if (lm_dataset_batch(&e, d, o, step, &b) != LM_OK) fail_msg("%s", e.text);
    return b;
}

static bool same(const lm_batch *a, const lm_batch *b) {
    size_t pixels = (size_t)a->clips * a->frames * a->size * a->size;
    bool equal = a->clips == b->clips && a->frames == b->frames && a->size == b->size &&
                 !memcmp(a->x0, b->x0, pixels * 3 * sizeof(float)) &&
                 !memcmp(a->cond, b->cond, pixels * 4 * sizeof(float));
    for (int i = 0; equal && i < a->clips; i++) equal = !strcmp(a->captions[i], b->captions[i]);
    return equal;
}

typedef struct job {
    const lm_dataset *data;
    lm_batch batches[4];
} job;

static void *draw_backwards(void *context) {
    job *j = context;
    lm_batch_options o = video_options(3, 5);
    lm_error e = {0};
    for (uint32_t step = 4; step-- > 0;)
        if (lm_dataset_batch(&e, j->data, &o, step, &j->batches[step]) != LM_OK) return &j->batches[step];
    return NULL;
}

static void test_batches_are_functions_of_the_step(void **state) {
    (void)state;
    lm_dataset *d = open_shard(32), *again = open_shard(32);
    lm_batch_options o = video_options(3, 5);
    job jobs[2] = {{.data = d}, {.data = again}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, draw_backwards, &jobs[i]), 0);
    lm_batch wanted[4];
    for (uint32_t step = 0; step < 4; step++) wanted[step] = draw(d, &o, step);
    for (int i = 0; i < 2; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        for (int step = 0; step < 4; step++) assert_true(same(&wanted[step], &jobs[i].batches[step]));
        for (int step = 0; step < 4; step++) lm_batch_free(&jobs[i].batches[step]);
    }
    assert_false(same(&wanted[0], &wanted[1]));
    o.seed++;
    lm_batch other = draw(d, &o, 0);
    assert_false(same(&wanted[0], &other));
    lm_batch_free(&other);
    for (int step = 0; step < 4; step++) lm_batch_free(&wanted[step]);
    lm_dataset_free(&d);
    lm_dataset_free(&again);
    assert_null(d);
}

// A clip's draws depend neither on the batch's size nor on its conditions.
static void test_clips_are_drawn_one_by_one(void **state) {
    (void)state;
    lm_dataset *d = open_shard(64);
    lm_batch_options o = video_options(4, 3);
    lm_batch four = draw(d, &o, 9);
    o.clips = 2;
    o.condition = false;
    lm_batch two = draw(d, &o, 9);
    assert_null(two.cond);
    assert_memory_equal(four.x0, two.x0, 2 * 3 * 64 * 64 * 3 * sizeof(float));
    for (int i = 0; i < 2; i++) assert_string_equal(four.captions[i], two.captions[i]);
    lm_batch_free(&four);
    lm_batch_free(&two);
    assert_null(two.x0);
    lm_dataset_free(&d);
}

static void check_share(const char *what, int seen, int draws, double p) {
    if (fabs((double)seen / draws - p) > 5 * sqrt(p * (1 - p) / draws))
        fail_msg("%s: %d of %d, expected a share of %g", what, seen, draws, p);
}

static bool names_a_motion(const char *caption) {
    for (int i = 1; i < LM_MOTIONS; i++)
        if (strstr(caption, lm_motion_names[i])) return true;
    return false;
}

static void test_shares(void **state) {
    (void)state;
    enum { DRAWS = 3000 };
    lm_dataset *d = open_shard(64);
    assert_int_equal(lm_dataset_count(d, LM_SPLIT_TRAIN) + lm_dataset_count(d, LM_SPLIT_VALIDATION), SPRITES);
    assert_int_equal(lm_dataset_animated(d, LM_SPLIT_TRAIN), 1);
    int train = lm_dataset_count(d, LM_SPLIT_TRAIN);
    for (int frames = 1; frames <= 2; frames++) {
        lm_batch_options o = video_options(30, frames);
        o.condition = false;
        int empty = 0, cars = 0, stills = 0, moved_stills = 0, moved_cars = 0, colored = 0;
        for (uint32_t step = 0; step < DRAWS / 30; step++) {
            lm_batch b = draw(d, &o, step);
            for (int i = 0; i < b.clips; i++) {
                const char *c = b.captions[i];
                bool car = strstr(c, "car") != NULL;
                empty += !*c;
                cars += car;
                stills += *c && !car;
                moved_stills += !car && names_a_motion(c);
                moved_cars += car && names_a_motion(c);
                colored += strstr(c, "background") && !strstr(c, "white");
            }
            lm_batch_free(&b);
        }
        check_share("empty captions", empty, DRAWS, 0.1);
        check_share("colours", colored, DRAWS - empty, 0.5);
        check_share("cars", cars, DRAWS - empty, frames == 1 ? 1.0 / train : 0.7 + 0.3 / train);
        if (frames == 1) {
            assert_int_equal(moved_stills + moved_cars, 0); // a picture's caption doesn't say where the sprite is
        } else {
            assert_int_equal(moved_stills, stills); // a still in a clip always moves
            check_share("moved cars", moved_cars, cars, 0.5);
        }
    }
    lm_dataset_free(&d);
}

// condition_share decides how many clips are given anything; two of nine kinds of condition give nothing either.
static void test_share_of_conditions(void **state) {
    (void)state;
    enum { DRAWS = 900 };
    lm_dataset *d = open_shard(32);
    for (int halves = 0; halves <= 2; halves++) {
        lm_batch_options o = video_options(DRAWS, 2);
        o.condition_share = halves / 2.0;
        lm_batch b = draw(d, &o, 0);
        int given = 0;
        for (int i = 0; i < DRAWS; i++) {
            bool any = false;
            for (int j = 0; j < 2 * 32 * 32; j++) any |= b.cond[(i * 2 * 32 * 32 + j) * 4 + 3] > 0;
            given += any;
        }
        check_share("conditions", given, DRAWS, o.condition_share * 7 / 9);
        lm_batch_free(&b);
    }
    lm_dataset_free(&d);
}

// Stills of a motion that the caption names show its beginning more often than its end.
static void test_named_motions_of_stills(void **state) {
    (void)state;
    enum { DRAWS = 6000, SIDE = 32 };
    lm_dataset *d = open_shard(SIDE);
    lm_batch_options o = {.split = LM_SPLIT_TRAIN,
                          .clips = DRAWS,
                          .frames = 1,
                          .motion_share = 1,
                          .motion_caption_share = 0.5,
                          .seed = 3};
    lm_batch b = draw(d, &o, 0);
    int named = 0, right = 0, left_half = 0;
    for (int i = 0; i < DRAWS; i++) {
        const float *x0 = b.x0 + i * SIDE * SIDE * 3;
        named += names_a_motion(b.captions[i]);
        if (!strstr(b.captions[i], "from left to right")) continue;
        double left = 0, all = 0; // what differs from the background, white here
        for (int j = 0; j < SIDE * SIDE; j++) {
            double off = 3 - (x0[3 * j] + x0[3 * j + 1] + x0[3 * j + 2]);
            all += off;
            left += j % SIDE < SIDE / 2 ? off : 0;
        }
        right++;
        left_half += left > all / 2;
    }
    check_share("named motions", named, DRAWS, 0.5);
    assert_true(right > 150);
    check_share("left halves", left_half, right, sqrt(0.5)); // moment 80 u^2 lies in the first half
    lm_batch_free(&b);
    lm_dataset_free(&d);
}

// In clips, stills move unless plain_share lets some be.
static void test_plain_stills(void **state) {
    (void)state;
    enum { DRAWS = 1500 };
    lm_dataset *d = open_shard(32);
    for (int quarters = 0; quarters <= 1; quarters++) {
        lm_batch_options o = video_options(DRAWS, 2);
        o.plain_share = quarters / 4.0;
        lm_batch b = draw(d, &o, 0);
        int stills = 0, plain = 0;
        for (int i = 0; i < DRAWS; i++) {
            if (strncmp(b.captions[i], "still", 5) != 0) continue;
            stills++;
            plain += !names_a_motion(b.captions[i]);
        }
        assert_true(stills > 200);
        check_share("plain stills", plain, stills, o.plain_share);
        lm_batch_free(&b);
    }
    lm_dataset_free(&d);
}

// Where a still's moment is told, its sprite is where the motion has it then, and all moments are shown evenly.
static void test_moments_of_stills(void **state) {
    (void)state;
    enum { DRAWS = 6000, SIDE = 32 };
    lm_dataset *d = open_shard(SIDE);
    lm_batch_options o = {.split = LM_SPLIT_TRAIN,
                          .clips = DRAWS,
                          .frames = 1,
                          .motion_share = 1,
                          .motion_caption_share = 1,
                          .moment_share = 0.8,
                          .seed = 3};
    lm_batch b = draw(d, &o, 0);
    int told = 0, early = 0, moving = 0, where_told = 0;
    for (int i = 0; i < DRAWS; i++) {
        const float *x0 = b.x0 + i * SIDE * SIDE * 3;
        if (b.moment[i] == LM_MOMENT_UNKNOWN) continue;
        assert_true(b.moment[i] >= 0 && b.moment[i] <= 1);
        told++;
        early += b.moment[i] < 0.5f;
        if (!strstr(b.captions[i], "from left to right") || fabsf(b.moment[i] - 0.5f) < 0.1f) continue;
        double left = 0, right = 0;
        for (int j = 0; j < SIDE * SIDE; j++)
            *(j % SIDE < SIDE / 2 ? &left : &right) += 3 - (x0[3 * j] + x0[3 * j + 1] + x0[3 * j + 2]);
        moving++;
        where_told += (left > right) == (b.moment[i] < 0.5f);
    }
    check_share("moments told", told, DRAWS, 0.8);
    check_share("early moments", early, told, 0.5);
    assert_true(moving > 200);
    assert_int_equal(where_told, moving);
    lm_batch_free(&b);
    o.moment_share = 0;
    b = draw(d, &o, 0);
    for (int i = 0; i < DRAWS; i++) assert_true(b.moment[i] == LM_MOMENT_UNKNOWN);
    lm_batch_free(&b);
    lm_dataset_free(&d);
}

// A clip's frames follow each other by 1/79.
static void test_moments_of_clips(void **state) {
    (void)state;
    enum { FRAMES = 5 };
    lm_dataset *d = open_shard(32);
    lm_batch_options o = video_options(40, FRAMES);
    lm_batch b = draw(d, &o, 0);
    int late = 0;
    for (int i = 0; i < 40; i++) {
        late += b.moment[i * FRAMES] > 0.5f;
        for (int f = 0; f < FRAMES; f++) {
            float first = b.moment[i * FRAMES] * (LM_MOMENTS - 1);
            assert_true(fabsf(first - roundf(first)) < 1e-4f && first >= 0 && first <= LM_MOMENTS - FRAMES);
            assert_true(fabsf(b.moment[i * FRAMES + f] - (first + (float)f) / (LM_MOMENTS - 1)) < 1e-6f);
        }
    }
    assert_true(late > 5 && late < 35);
    lm_batch_free(&b);
    lm_dataset_free(&d);
}

static void test_pictures_without_motion_are_centred(void **state) {
    (void)state;
    lm_dataset *d = open_shard(64);
    lm_batch_options o = {.split = LM_SPLIT_TRAIN, .clips = 20, .frames = 1, .seed = 2};
    lm_batch b = draw(d, &o, 0);
    lm_sprite sprite = {0};
    make_formula_sprite(STILLS, 64, &sprite);
    int stills = 0;
    for (int i = 0; i < b.clips; i++) {
        int k;
        if (sscanf(b.captions[i], "still %d", &k) != 1) continue;
        stills++;
        for (int j = 0; j < 64 * 64; j++) {
            uint8_t p[4];
            lm_pixel_premultiply(sprite.data + (k * 64 * 64 + j) * 4, p);
            double wanted = 2 * ((p[0] + 255.0 - p[3]) / 255) - 1, off = b.x0[(i * 64 * 64 + j) * 3] - wanted;
            assert_true(fabs(off) < 1e-5);
        }
    }
    assert_true(stills > 0);
    lm_batch_free(&b);
    lm_sprite_clear(&sprite);
    lm_dataset_free(&d);
}

static void test_validation_split_is_that_of_the_specification(void **state) {
    (void)state;
    static const char *const shards[] = {LM_SOURCE_DIR "/data/emoji/stills-3d.tar",
                                         LM_SOURCE_DIR "/data/emoji/train-tones-000.tar"};
    lm_error e = {0};
    uint8_t *text;
    size_t size;
    assert_int_equal(lm_file_read(&e, LM_TEST_DATA "/train/validation.txt", 1 << 16, LM_MEDIA, &text, &size), LM_OK);
    lm_pool *pool;
    assert_int_equal(lm_pool_create(&e, 0, &pool), LM_OK);
    lm_sprites list = {0};
    for (int i = 0; i < 2; i++) assert_int_equal(lm_source_read(&e, shards[i], "3d", pool, &list), LM_OK);
    assert_int_equal(list.count, 1490 + 225);
    int found = 0;
    for (int i = 0; i < list.count; i++) {
        char line[300];
        snprintf(line, sizeof line, "%s\n", list.items[i].subject);
        const char *at = strstr((const char *)text, line);
        bool listed = at && (at == (const char *)text || at[-1] == '\n');
        assert_int_equal(lm_subject_is_validation(list.items[i].subject), listed);
        found += listed;
    }
    assert_true(found >= 70);
    lm_sprites_clear(&list);
    lm_pool_free(&pool);
    lm_free(text);
}

static lm_status read_folder(lm_error *e, const char *name, lm_sprites *list) {
    char *path = in_folder(name);
    lm_pool *pool;
    assert_int_equal(lm_pool_create(e, 1, &pool), LM_OK);
    lm_status status = lm_source_read(e, path, "3d", pool, list);
    lm_pool_free(&pool);
    lm_free(path);
    return status;
}

static void make_folder(const char *name) {
    char *path = in_folder(name);
    assert_int_equal(mkdir(path, 0700), 0);
    lm_free(path);
}

// 192 x 128 pixels; within the centred square, blocks of 2 x 2 of which three quarters are one value.
static void write_wide_picture(const char *name) {
    static uint8_t rgba[128 * 192 * 4];
    for (int y = 0; y < 128; y++)
        for (int x = 0; x < 192; x++) {
            bool in = x >= 32 && x < 160;
            int value = in ? ((x - 32) / 2 + y / 2) % 60 * 4 : 255;
            if (in && x % 2 && y % 2) value += 4;
            uint8_t *p = rgba + (y * 192 + x) * 4;
            p[0] = p[1] = p[2] = (uint8_t)value;
            p[3] = 255;
        }
    size_t size;
    uint8_t *webp = make_webp(rgba, 192, 128, &size);
    write_file(name, webp, size);
    lm_free(webp);
}

static void test_folder_of_pairs(void **state) {
    (void)state;
    make_folder("pairs");
    write_wide_picture("pairs/b.webp");
    write_file("pairs/b.txt", "  a pattern \r\n\n blocks\n", 23);
    write_file("pairs/notes.md", "x", 1);
    lm_clip clip;
    lm_error e = {0};
    assert_int_equal(lm_clip_alloc(&e, 24, 64, 64, 3, &clip), LM_OK); // 24 frames at 8 fps: three seconds
    clip.fps = 8;
    for (int i = 0; i < 24 * 64 * 64 * 3; i++) clip.data[i] = (uint8_t)(i / (64 * 64 * 3) * 10);
    char *path = in_folder("pairs/a.gif");
    if (lm_media_write(&e, path, &clip, NULL) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    lm_clip_free(&clip);
    write_file("pairs/a.txt", "a fade", 6);
    lm_sprites list = {0};
    if (read_folder(&e, "pairs", &list) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].subject, "a");
    assert_string_equal(list.items[0].captions[0], "a fade");
    assert_int_equal(list.items[0].frames, 48); // at 16 fps
    for (int f = 0; f < 48; f++) {
        const uint8_t *p = list.items[0].data + f * 64 * 64 * 4 + 4000;
        assert_in_range(p[0], f / 2 * 10 > 4 ? f / 2 * 10 - 4 : 0, f / 2 * 10 + 4); // the gif's palette
        assert_int_equal(p[3], 255);
    }
    const lm_sprite *b = &list.items[1];
    assert_int_equal(b->caption_count, 2);
    assert_string_equal(b->captions[0], "a pattern");
    assert_string_equal(b->captions[1], "blocks");
    assert_int_equal(b->frames, 1);
    for (int i = 0; i < 64 * 64; i++) assert_int_equal(b->data[i * 4 + 1], (i % 64 + i / 64) % 60 * 4 + 1);
    lm_sprites_clear(&list);
}

static void expect_open_refused(const char *path, int size, lm_status wanted, const char *message) {
    lm_error e = {0};
    lm_dataset *d;
    lm_dataset_options o = {.paths = &path, .path_count = path != NULL, .style = "3d", .size = size, .threads = 1};
    lm_status status = lm_dataset_open(&e, &o, &d);
    if (status != wanted || !strstr(e.text, message) || d)
        fail_msg("status %d, '%s'; expected %d, '%s'", status, e.text, wanted, message);
}

static void test_refused_sources(void **state) {
    (void)state;
    make_folder("empty");
    make_folder("alone");
    make_folder("blank");
    write_wide_picture("alone/a.png.webp");
    write_wide_picture("blank/a.webp");
    write_file("blank/a.txt", " \n\n", 3);
    make_folder("broken");
    write_file("broken/a.mp4", "no video", 8);
    write_file("broken/a.txt", "words", 5);
    static const struct {
        const char *name;
        int size;
        lm_status status;
        const char *message;
    } cases[] = {
        {"missing.tar", 64, LM_MEDIA, "missing.tar: No such file"},
        {"empty", 64, LM_MEDIA, "no .tar and no clip"},
        {"alone", 64, LM_MEDIA, "a.png.txt"},
        {"blank", 64, LM_MEDIA, "no caption in it"},
        {"broken", 64, LM_MEDIA, "a.mp4"},
        {"data.tar", 48, LM_USAGE, "size 48 does not fit sprites of 64 pixels a side; use 64 or 32"},
        {"data.tar", 128, LM_USAGE, "use 64 or 32"},
        {"data.tar", 0, LM_USAGE, "size 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = in_folder(cases[i].name);
        expect_open_refused(path, cases[i].size, cases[i].status, cases[i].message);
        lm_free(path);
    }
    expect_open_refused(NULL, 64, LM_USAGE, "no training data named");
}

static void test_refused_batches(void **state) {
    (void)state;
    lm_dataset *d = open_shard(64);
    static const struct {
        lm_batch_options o;
        lm_status status;
        const char *message;
    } cases[] = {
        {{.clips = 0, .frames = 1}, LM_USAGE, "a batch of 0 clips"},
        {{.clips = 1, .frames = 0}, LM_USAGE, "clips of 0 frames; they must have 1 to 80"},
        {{.clips = 1, .frames = 81}, LM_USAGE, "clips of 81 frames"},
        {{.clips = 1, .frames = 1, .motion_share = 1.5}, LM_USAGE, "motion_share 1.5"},
        {{.clips = 1, .frames = 1, .caption_dropout = NAN}, LM_USAGE, "caption_dropout"},
        {{.clips = 1, .frames = 1, .split = LM_SPLIT_VALIDATION}, LM_MEDIA, "no sprite for validation"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_error e = {0};
        lm_batch b;
        lm_status status = lm_dataset_batch(&e, d, &cases[i].o, 0, &b);
        if (status != cases[i].status || !strstr(e.text, cases[i].message)) fail_msg("%d, '%s'", status, e.text);
        assert_null(b.x0);
    }
    lm_dataset_free(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_are_functions_of_the_step),
        cmocka_unit_test(test_clips_are_drawn_one_by_one),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_share_of_conditions),
        cmocka_unit_test(test_named_motions_of_stills),
        cmocka_unit_test(test_plain_stills),
        cmocka_unit_test(test_moments_of_stills),
        cmocka_unit_test(test_moments_of_clips),
        cmocka_unit_test(test_pictures_without_motion_are_centred),
        cmocka_unit_test(test_validation_split_is_that_of_the_specification),
        cmocka_unit_test(test_folder_of_pairs),
        cmocka_unit_test(test_refused_sources),
        cmocka_unit_test(test_refused_batches),
    };
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
