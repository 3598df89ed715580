#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "train_data.h"

#include "base/memory.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <webp/encode.h>

void make_formula_sprite(int frames, int size, lm_sprite *out) {
    lm_error e = {0};
    assert_int_equal(lm_sprite_alloc(&e, frames, size, out), LM_OK);
    uint8_t *p = out->data;
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++, p += 4) {
                int alpha = (x * 3 + y * 5 + f * 40) % 256;
                for (int c = 0; c < 3; c++) p[c] = (uint8_t)((x * 7 + y * 2 + f * 11 + c * 60) % 256 * alpha / 255);
                p[3] = (uint8_t)alpha;
            }
}

uint8_t *make_webp(const uint8_t *rgba, int width, int height, size_t *size) {
    WebPConfig config;
    WebPPicture picture;
    WebPMemoryWriter writer;
    WebPMemoryWriterInit(&writer);
    assert_true(WebPConfigInit(&config) && WebPConfigLosslessPreset(&config, 0) && WebPPictureInit(&picture));
    config.exact = 1;
    picture.use_argb = 1;
    picture.width = width;
    picture.height = height;
    picture.writer = WebPMemoryWrite;
    picture.custom_ptr = &writer;
    assert_true(WebPPictureImportRGBA(&picture, rgba, width * 4) && WebPEncode(&config, &picture));
    WebPPictureFree(&picture);
    uint8_t *copy = lm_alloc(writer.size, 1);
    assert_non_null(copy);
    memcpy(copy, writer.mem, writer.size);
    *size = writer.size;
    WebPMemoryWriterClear(&writer);
    return copy;
}

uint8_t *make_tar(const tar_file *files, int count, size_t *size) {
    size_t room = 65536;
    for (int i = 0; i < count; i++) room += files[i].size + 2048;
    uint8_t *bytes = lm_alloc(room, 1);
    struct archive *tar = archive_write_new();
    assert_int_equal(archive_write_set_format_ustar(tar), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(tar, bytes, room, size), ARCHIVE_OK);
    for (int i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, files[i].name);
        archive_entry_set_filetype(entry, files[i].link ? AE_IFLNK : AE_IFREG);
        if (files[i].link) archive_entry_set_symlink(entry, files[i].link);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, (la_int64_t)files[i].size);
        assert_int_equal(archive_write_header(tar, entry), ARCHIVE_OK);
        assert_int_equal(archive_write_data(tar, files[i].bytes, files[i].size), files[i].size);
        archive_entry_free(entry);
    }
    assert_int_equal(archive_write_close(tar), ARCHIVE_OK);
    archive_write_free(tar);
    return bytes;
}

uint8_t *first_file_of_tar(const char *path, size_t *size) {
    struct archive *tar = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_format_tar(tar);
    assert_int_equal(archive_read_open_filename(tar, path, 10240), ARCHIVE_OK);
    assert_int_equal(archive_read_next_header(tar, &entry), ARCHIVE_OK);
    *size = (size_t)archive_entry_size(entry);
    uint8_t *bytes = lm_alloc(*size, 1);
    assert_int_equal(archive_read_data(tar, bytes, *size), *size);
    archive_read_free(tar);
    return bytes;
}
