// Pictures and clips: bytes from and to files. Frames are RGB or RGBA, 8 bits a channel, rows top to bottom.
#pragma once
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lm_clip {
    int frames, width, height;
    int channels;    // 3: RGB; 4: RGBA, alpha straight
    double fps;      // 0 for a picture, or when it isn't known
    bool fps_beside; // it is not in the file, but in the recipe beside it
    uint8_t *data;   // frames x height x width x channels
} lm_clip;
void lm_clip_free(lm_clip *c); // frees data, zeroes the struct
lm_status lm_clip_alloc(lm_error *e, int frames, int width, int height, int channels, lm_clip *out);

enum { LM_MAX_SIDE = 8192, LM_MAX_READ_FRAMES = 4096 };

// Reads any picture or video: what FFmpeg's libraries and libwebp decode, a folder of pictures in order of their names,
// or .npy; these two have the rate that the recipe beside them says. Rotation tags are applied. max_frames: no more
// than these are read; with 0 all are, and more than LM_MAX_READ_FRAMES is a failure. LM_MEDIA with the name and reason
// on failure; sizes are checked before frames are allocated.
lm_status lm_media_read(lm_error *e, const char *path, int max_frames, lm_clip *out);
// The first seconds of a clip, above 0; at least a frame. What tells its rate at the end or not at all (GIF, APNG,
// WebP, npy, folders) is read whole.
lm_status lm_media_read_start(lm_error *e, const char *path, double seconds, lm_clip *out);
// The same from memory (training shards). name is for messages.
lm_status lm_media_read_memory(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames,
                               lm_clip *out);

// What a file says of the clip in it, however long it is: from headers and the frames' own headers, of which none is
// decoded but a JPEG picture's (its orientation comes with it). Of a folder its first picture is looked at.
typedef struct lm_clip_facts {
    int frames, width, height; // as they would be read; of a video its packets are counted
    double fps;                // as lm_clip's
    double seconds;            // 0 for a picture, or when they aren't known
} lm_clip_facts;
// recipe: as lm_media_read_recipe gives it. LM_MEDIA as lm_media_read, though damage within the frames goes unseen.
lm_status lm_media_look(lm_error *e, const char *path, lm_clip_facts *out, char **recipe);
lm_status lm_media_look_memory(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out);

// How a clip was made; stored in the container's comment and in FILE.json. recipe is a compact JSON object.
// Writes by the file ending: .mp4 .webm .gif .png (one frame) .apng .webp .npy, or a folder of PNG frames when path
// ends in '/'. Written to a temporary name beside it, fsynced and renamed. recipe may be NULL. .mp4 repeats the last
// row or column of an odd side; .gif has 255 colours and alpha on or off; .mp4, .webm and .npy take no alpha. LM_MEDIA:
// unwritable place, full disk; the message says so when the clip is whole and only its recipe beside it isn't there.
// LM_USAGE: unknown ending, what it can't hold, no rate for a moving clip.
lm_status lm_media_write(lm_error *e, const char *path, const lm_clip *clip, const char *recipe);
// What lm_media_write would refuse, asked before a long run, by the same code. shape: frames, size, rate and channels
// as far as they are known, else 0. recipe: one is written beside it; again: it is written more than once.
lm_status lm_media_check_output(lm_error *e, const char *path, const lm_clip *shape, bool recipe, bool again);
// The recipe in a file's container, or else beside it; *json is NULL when there is none. Free with lm_free.
lm_status lm_media_read_recipe(lm_error *e, const char *path, char **json);

// Sets FFmpeg's log level, which is the whole process's, so that it prints nothing. Nothing else here touches it:
// codecs are quiet by themselves, but what containers and conversions say of damaged files follows that level.
void lm_media_silence_ffmpeg(void);
