#include "media_test.h"

#include "base/memory.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int enter_folder(void **state) {
    lm_media_silence_ffmpeg(); // what it says of damaged files would hide what fails
    const char *base = getenv("TMPDIR");
    char *path = lm_format("%s/lumiere-test-XXXXXX", base ? base : "/tmp");
    *state = path;
    return path && mkdtemp(path) && !chdir(path) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

int leave_folder(void **state) {
    int failed = chdir("/") || nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    lm_free(*state);
    return failed;
}

void store_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

uint8_t *load_bytes(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("there is no file %s", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = lm_alloc(*size + 1, 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static uint8_t pixel_value(int f, int x, int y, int k) {
    if (k == 3) return (uint8_t)((x + y + f) % 5 == 0 ? 0 : (x + f) % 3 == 0 ? 255 : (x * 20 + 100) % 256);
    return (uint8_t)lround(127.5 + 110 * sin((x * (k + 1) + y * (3 - k) + f * 4) * 0.03));
}

lm_clip make_clip(int frames, int width, int height, int channels) {
    lm_clip c;
    assert_int_equal(lm_clip_alloc(NULL, frames, width, height, channels, &c), LM_OK);
    c.fps = 16;
    uint8_t *p = c.data;
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int k = 0; k < channels; k++) *p++ = pixel_value(f, x, y, k);
    return c;
}

lm_clip read_clip(const char *path) {
    lm_error e = {0};
    lm_clip c;
    if (lm_media_read(&e, path, 0, &c) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(e.status, LM_OK);
    return c;
}

void write_clip(const char *path, const lm_clip *c, const char *recipe) {
    lm_error e = {0};
    if (lm_media_write(&e, path, c, recipe) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(e.status, LM_OK);
}

void assert_same_pixels(const lm_clip *a, const lm_clip *b) {
    assert_int_equal(a->frames, b->frames);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(a->data, b->data,
                        (size_t)a->frames * (size_t)a->width * (size_t)a->height * (size_t)a->channels);
}

static const uint8_t *pixel_at(const lm_clip *c, int f, int y, int x) {
    return c->data + (((size_t)f * (size_t)c->height + (size_t)y) * (size_t)c->width + (size_t)x) * (size_t)c->channels;
}

double clip_psnr(const lm_clip *a, const lm_clip *b) {
    int frames = a->frames < b->frames ? a->frames : b->frames, height = a->height < b->height ? a->height : b->height;
    int width = a->width < b->width ? a->width : b->width;
    double error = 0;
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int k = 0; k < 3; k++) {
                    double d = pixel_at(a, f, y, x)[k] - pixel_at(b, f, y, x)[k];
                    error += d * d;
                }
    return 10 * log10(255.0 * 255.0 * 3 * frames * height * width / (error + 1e-9));
}

void assert_error(const lm_error *e, lm_status expected, lm_status found, const char *piece) {
    if (found != expected) fail_msg("status %d instead of %d: %s", found, expected, e->text);
    assert_int_equal(e->status, expected);
    if (!strstr(e->text, piece)) fail_msg("'%s' does not say '%s'", e->text, piece);
    assert_null(strchr(e->text, '\n'));
}
