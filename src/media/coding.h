// Inside the media room: one reader and one writer for each kind of file, between bytes in memory and frames.
#pragma once
#include "media/media.h"

// Bytes that grow. Zero-initialise; free with lm_bytes_free.
typedef struct lm_bytes {
    uint8_t *data;
    size_t size, capacity;
} lm_bytes;
// Writes at any position; a gap before it reads as zeros. LM_MEMORY when memory is short.
lm_status lm_bytes_write(lm_error *e, lm_bytes *b, size_t position, const void *data, size_t size);
lm_status lm_bytes_insert(lm_error *e, lm_bytes *b, size_t position, const void *data, size_t size);
void lm_bytes_free(lm_bytes *b);

// Collects frames of one size. wanted 0: all, and more than LM_MAX_READ_FRAMES is a failure.
typedef struct lm_clip_builder {
    const char *name; // for messages
    int wanted, capacity;
    lm_clip clip;
} lm_clip_builder;
// Room for one more frame of the given size at *frame; LM_MEDIA when the size is beyond LM_MAX_SIDE or differs.
lm_status lm_builder_next(lm_error *e, lm_clip_builder *b, int width, int height, int channels, uint8_t **frame);
bool lm_builder_full(const lm_clip_builder *b);
// Moves the frames to *out when status is LM_OK, frees them otherwise; returns status, or LM_MEDIA for no frame at all.
lm_status lm_builder_finish(lm_error *e, lm_clip_builder *b, lm_status status, lm_clip *out);

lm_status lm_media_no_memory(lm_error *e, const char *what); // LM_MEMORY, where the bytes needed aren't known
lm_status lm_media_check_size(lm_error *e, const char *name, int64_t width, int64_t height);
// frames / seconds, or a whole number of frames a second when its seconds differ by no more than tolerance.
double lm_media_rate(int frames, double seconds, double tolerance);
size_t lm_clip_frame_bytes(const lm_clip *c);
void lm_clip_drop_unused_alpha(lm_clip *c); // RGBA to RGB when every pixel is opaque

bool lm_webp_is(const uint8_t *bytes, size_t size);
lm_status lm_webp_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, lm_clip *out);
lm_status lm_webp_look(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out);
// Lossless; one frame gives a still. xmp may be NULL.
lm_status lm_webp_write(lm_error *e, const lm_clip *clip, const char *xmp, lm_bytes *out);
// The XMP chunk as a string, NULL when there is none. Free with lm_free.
lm_status lm_webp_read_xmp(lm_error *e, const uint8_t *bytes, size_t size, char **xmp);

bool lm_npy_is(const uint8_t *bytes, size_t size);
lm_status lm_npy_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, lm_clip *out);
lm_status lm_npy_look(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out);
lm_status lm_npy_write(lm_error *e, const lm_clip *clip, lm_bytes *out);

typedef enum lm_av_kind { LM_AV_MP4, LM_AV_WEBM, LM_AV_GIF, LM_AV_PNG, LM_AV_APNG } lm_av_kind;
// seconds: as for lm_media_read_start; 0: all.
lm_status lm_av_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, double seconds,
                     lm_clip *out);
lm_status lm_av_look(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out);
// The container's comment, NULL when there is none. Free with lm_free.
lm_status lm_av_read_comment(lm_error *e, const char *name, const uint8_t *bytes, size_t size, char **comment);
// comment may be NULL; it is written to mp4 and webm only.
lm_status lm_av_write(lm_error *e, lm_av_kind kind, const lm_clip *clip, const char *comment, lm_bytes *out);

// Whether this build of FFmpeg can write such a file at that rate; 0: any.
lm_status lm_av_check(lm_error *e, lm_av_kind kind, double fps);

// Comments in PNG (iTXt) and GIF (comment extension): put in after the header, found anywhere.
bool lm_png_is(const uint8_t *bytes, size_t size);
lm_status lm_png_insert_comment(lm_error *e, lm_bytes *png, const char *comment);
lm_status lm_png_find_comment(lm_error *e, const uint8_t *bytes, size_t size, char **comment);
lm_status lm_gif_insert_comment(lm_error *e, lm_bytes *gif, const char *comment);
// A description as an XMP packet (dc:description), and back; *text is NULL when there is none.
lm_status lm_xmp_make(lm_error *e, const char *text, char **xmp);
lm_status lm_xmp_find(lm_error *e, const char *xmp, char **text);

// lm_media_read_memory, and what lm_media_read_start reads of a file's bytes. seconds 0: all.
lm_status lm_media_read_bytes(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames,
                              double seconds, lm_clip *out);

lm_status lm_folder_read(lm_error *e, const char *path, int max_frames, lm_clip *out);
lm_status lm_folder_look(lm_error *e, const char *path, lm_clip_facts *out);
lm_status lm_folder_write(lm_error *e, const char *path, const lm_clip *clip, const char *recipe);
// Whether a folder can be written at path, which is new or an empty folder that can be replaced.
lm_status lm_folder_check(lm_error *e, const char *path);

// The comment in a file of any kind, a recipe or not; NULL when there is none. Free with lm_free.
lm_status lm_recipe_find(lm_error *e, const char *name, const uint8_t *bytes, size_t size, char **text);
// The recipe in a file's bytes, or else beside it, as lm_media_read_recipe gives it. bytes NULL: path is a folder.
lm_status lm_recipe_of(lm_error *e, const char *path, const uint8_t *bytes, size_t size, char **json);
// The rate that the recipe beside a clip says; 0 when there is none, or none that makes sense.
lm_status lm_recipe_rate(lm_error *e, const char *path, double *fps);
lm_status lm_recipe_check(lm_error *e, const char *recipe); // LM_USAGE when it isn't a JSON object
// recipe as indented JSON with a newline to the file path.
lm_status lm_recipe_write_beside(lm_error *e, const char *path, const char *recipe);
// Writes bytes to path, atomically.
lm_status lm_media_store(lm_error *e, const char *path, const lm_bytes *bytes);

enum { LM_MAX_FILE_BYTES = 1 << 30 };
