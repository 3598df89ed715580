// Inside the tasks' room: which pixels are made anew.
#pragma once
#include "tasks/given.h"

// made [frames,height,width] of a task's options, which were checked: 255 where it is made anew, also in pixels that
// only touch such a part; 0 where it is given; between where it is given within the feather's reach of the other.
lm_status lm_mask_make(lm_error *e, const lm_given_options *o, uint8_t *made);

// Turns the zeros of mask [height,width] within reach pixels of a 255 into 255 (1 - distance / (reach + 1)), rounded
// down. near: scratch of as many values.
void lm_mask_feather(uint8_t *mask, int width, int height, double reach, float *near);
