// Clips for the tests of measure: pixels by a formula, and a context.
#pragma once
#include "pipeline/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

typedef int (*pixel_formula)(const void *user, int t, int y, int x, int k); // 0 to 255
// Fails the test when memory is short; 16 frames a second. Free with lumiere_clip_free.
lumiere_clip *clip_make(int frames, int width, int height, pixel_formula f, const void *user);
const uint8_t *clip_pixel(const lumiere_clip *c, int t, int y, int x);

extern lumiere_context *context; // of one thread
int context_open(void **state);
int context_close(void **state);
// The call ended with this status and a message that holds what.
void assert_status(lumiere_status found, lumiere_status expected, const char *what);

int black(const void *user, int t, int y, int x, int k);
// user: an int array, the level of each frame
int level_of_frame(const void *user, int t, int y, int x, int k);
