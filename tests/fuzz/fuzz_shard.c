// Any bytes as a shard: refused with a message, or sprites within the limits. An input that begins with '{' is the JSON
// of a record, up to the first zero byte, with the picture after it; it is packed into a tar. Any other is the tar
// itself.
#include "base/memory.h"
#include "train/shards.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition) abort();
}

static void add_file(struct archive *tar, const char *name, const uint8_t *bytes, size_t size) {
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_size(entry, (la_int64_t)size);
    require(archive_write_header(tar, entry) == ARCHIVE_OK);
    require(archive_write_data(tar, bytes, size) == (la_ssize_t)size);
    archive_entry_free(entry);
}

static uint8_t *pack_record(const uint8_t *data, size_t size, size_t *tar_size) {
    const uint8_t *zero = memchr(data, 0, size);
    size_t json = zero ? (size_t)(zero - data) : size, picture = zero ? size - json - 1 : 0;
    const uint8_t *bytes = data + size - picture;
    bool still = picture >= 4 && !memcmp(bytes, "RIFF", 4);
    size_t room = size + 65536;
    uint8_t *out = lm_alloc(room, 1);
    struct archive *tar = archive_write_new();
    require(out && tar && archive_write_set_format_ustar(tar) == ARCHIVE_OK);
    require(archive_write_open_memory(tar, out, room, tar_size) == ARCHIVE_OK);
    add_file(tar, "1.json", data, json);
    add_file(tar, still ? "1.webp" : "1.webm", bytes, picture);
    require(archive_write_close(tar) == ARCHIVE_OK);
    archive_write_free(tar);
    return out;
}

static void check_sprite(const lm_sprite *s) {
    require(s->data && s->subject && *s->subject && s->frames >= 1);
    require(s->size >= 8 && s->size <= LM_MAX_SPRITE_SIDE && s->size % 4 == 0);
    require(s->caption_count >= 1 && s->caption_count <= LM_MAX_CAPTIONS);
    for (int i = 0; i < s->caption_count; i++) require(*s->captions[i] && strlen(s->captions[i]) <= LM_MAX_CAPTION);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    lm_error e = {0};
    lm_pool *pool;
    require(lm_pool_create(&e, 1, &pool) == LM_OK);
    uint8_t *packed = NULL;
    if (size && data[0] == '{') data = packed = pack_record(data, size, &size);
    lm_sprites list = {0};
    lm_status status = lm_shard_read(&e, "input", data, size, "3d", pool, &list);
    require(status == e.status && (status == LM_OK) == !*e.text);
    for (int i = 0; i < list.count; i++) check_sprite(&list.items[i]);
    lm_sprites_clear(&list);
    lm_pool_free(&pool);
    lm_free(packed);
    return 0;
}
