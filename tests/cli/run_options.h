// Runs described by one expression, made through requests: what is not zero, or is said to be set, is set by its key,
// where the task takes it.
// Status and message of the request become those of the context, where tests look for them.
#pragma once
#include "pipeline/task_options.h"

lumiere_status run_generate(lumiere_context *c, lumiere_model *m, const lm_generate_options *o, lumiere_clip **out);
lumiere_status run_generate_estimate(lumiere_context *c, lumiere_model *m, const lm_generate_options *o,
                                     lumiere_estimate *out);
lumiere_status run_generate_recipe(lumiere_context *c, lumiere_model *m, const lm_generate_options *o,
                                   const char *extra, char **json);
lumiere_status run_task(lumiere_context *c, lumiere_model *m, const lm_task_options *o, lumiere_clip **out);
lumiere_status run_task_estimate(lumiere_context *c, lumiere_model *m, const lm_task_options *o, lumiere_estimate *out);
lumiere_status run_task_recipe(lumiere_context *c, lumiere_model *m, const lm_task_options *o, const char *extra,
                               char **json);
lumiere_status run_upscale(lumiere_context *c, lumiere_model *m, const lumiere_clip *in, const lm_upscale_options *o,
                           lumiere_clip **out);
// Of a clip of that shape.
lumiere_status run_upscale_estimate(lumiere_context *c, lumiere_model *m, int frames, int width, int height,
                                    const lm_upscale_options *o, lumiere_estimate *out);
lumiere_status run_upscale_recipe(lumiere_context *c, lumiere_model *m, const lumiere_clip *in,
                                  const lm_upscale_options *o, const char *extra, char **json);
// Sets the model's styles as a request would.
lumiere_status run_set_styles(lumiere_context *c, lumiere_model *m, const lm_style_asked *styles, int count);
