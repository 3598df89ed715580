// Training data from files: WebDataset tars, and folders of clips with captions.
#pragma once
#include "base/threads.h"
#include "train/sprite.h"
#include <stddef.h>

// The records of one tar (KEY.webm or KEY.webp, and KEY.json, side by side in it) -> sprites added to list, decoded on
// pool. Of stills only the drawing style named counts. name is for messages. LM_MEDIA: what is wrong with which record.
lm_status lm_shard_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, const char *style,
                        lm_pool *pool, lm_sprites *list);

enum { LM_FOLDER_SIDE = 64, LM_FOLDER_FPS = 16, LM_FOLDER_FRAMES = 480 };
// One path of a training run: a tar, or a folder of tars or of NAME.mp4 (.webm .gif .webp .png) + NAME.txt, in the
// order of their names. Clips of a folder are cropped to a centred square, reduced to 64 x 64 pixels and brought to 16
// fps; their first 480 frames count. The first line of a text is the caption, further lines are paraphrases.
lm_status lm_source_read(lm_error *e, const char *path, const char *style, lm_pool *pool, lm_sprites *list);
