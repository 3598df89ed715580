// Helpers for the tests of media: a folder of their own, clips to write in it, and errors with their messages.
#pragma once
#include "media/media.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

int enter_folder(void **state); // makes a folder and works in it; *state: its path
int leave_folder(void **state); // removes it
void store_bytes(const char *path, const void *bytes, size_t size);
uint8_t *load_bytes(const char *path, size_t *size); // free with lm_free

// A moving gradient at 16 frames a second. Alpha, where there are four channels, is 0, 255 or a ramp.
lm_clip make_clip(int frames, int width, int height, int channels);
lm_clip read_clip(const char *path);                                     // fails the test when it can't
void write_clip(const char *path, const lm_clip *c, const char *recipe); // likewise
void assert_same_pixels(const lm_clip *a, const lm_clip *b);
// Over the part that both share, in dB, colours only.
double clip_psnr(const lm_clip *a, const lm_clip *b);

void assert_error(const lm_error *e, lm_status expected, lm_status found, const char *piece);
