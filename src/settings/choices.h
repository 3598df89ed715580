// What some settings choose from, each declared once. The names that files and people use stand at the same numbers in
// settings_table.c. Rooms that work by a choice include this header and no other of this room.
#pragma once

typedef enum lm_task_kind {
    LM_TASK_GENERATE,    // text to video
    LM_TASK_ANIMATE,     // the input's first frame is given, all later ones are made
    LM_TASK_INPAINT,     // given outside the mask
    LM_TASK_OUTPAINT,    // given inside the input's edges
    LM_TASK_CINEMAGRAPH, // the input's first frame held: given whole at first, then outside the mask
    LM_TASK_EDIT,        // nothing is given; the whole clip is where sampling starts
    LM_TASK_STYLIZE,     // text to video in a style
    LM_TASK_UPSCALE,     // super-resolution
    LM_TASKS,
} lm_task_kind;

typedef enum lm_sampler_kind {
    LM_SAMPLER_DPMPP_2M, // DPM-Solver++(2M), Lu et al., arXiv 2211.01095, algorithm 2 (data prediction, order 2)
    LM_SAMPLER_DDIM,     // Song et al., arXiv 2010.02502, deterministic (order 1)
    LM_SAMPLERS,
} lm_sampler_kind;

// How an input of another size than the run's gets to it.
typedef enum lm_fit_kind {
    LM_FIT_CROP,    // scaled to cover, what stands over is cut off on both sides alike
    LM_FIT_PAD,     // scaled to lie within, the rest is background
    LM_FIT_STRETCH, // the whole picture, its proportions changed
    LM_FITS,
} lm_fit_kind;
