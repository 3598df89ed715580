#include "media/coding.h"
#include "base/memory.h"
#include <libavutil/crc.h>
#include <string.h>

enum { PNG_HEADER = 33, GIF_HEADER = 13, GIF_BLOCK = 255 };
static const char png_key[] = "Comment"; // https://www.w3.org/TR/png/#11keywords

static void put_be32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool lm_png_is(const uint8_t *bytes, size_t size) {
    return size >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8);
}

// An uncompressed iTXt chunk (UTF-8) without language after IHDR: length, type, keyword, text, CRC.
lm_status lm_png_insert_comment(lm_error *e, lm_bytes *png, const char *comment) {
    size_t head = sizeof png_key + 4, body = head + strlen(comment);
    if (png->size < PNG_HEADER || body > INT32_MAX) return lm_fail(e, LM_MEDIA, "a PNG that can't take a comment");
    uint8_t *chunk = lm_alloc_zero(body + 12, 1);
    if (!chunk) return lm_fail_memory(e, (double)body, "a comment");
    put_be32(chunk, (uint32_t)body);
    memcpy(chunk + 4, "iTXt", 4);
    memcpy(chunk + 8, png_key, sizeof png_key);
    memcpy(chunk + 8 + head, comment, body - head);
    uint32_t crc = av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), UINT32_MAX, chunk + 4, body + 4) ^ UINT32_MAX;
    put_be32(chunk + 8 + body, crc);
    lm_status status = lm_bytes_insert(e, png, PNG_HEADER, chunk, body + 12);
    lm_free(chunk);
    return status;
}

static lm_status copy_text(lm_error *e, const uint8_t *text, size_t size, char **out) {
    *out = lm_alloc(size + 1, 1);
    if (!*out) return lm_fail_memory(e, (double)size, "a comment");
    memcpy(*out, text, size);
    (*out)[size] = 0;
    return LM_OK;
}

// The text of an iTXt chunk's body, or NULL when it is another keyword's, translated or compressed.
static const uint8_t *comment_text(const uint8_t *body, size_t size) {
    static const uint8_t zeros[4];
    size_t head = sizeof png_key + 4;
    if (size < head || memcmp(body, png_key, sizeof png_key)) return NULL;
    return memcmp(body + sizeof png_key, zeros, 4) ? NULL : body + head;
}

lm_status lm_png_find_comment(lm_error *e, const uint8_t *bytes, size_t size, char **comment) {
    *comment = NULL;
    for (size_t at = 8; size >= 12 && at <= size - 12;) {
        size_t body = get_be32(bytes + at);
        if (body > size - 12 - at) break;
        const uint8_t *start = bytes + at + 8, *text = comment_text(start, body);
        if (text && !memcmp(bytes + at + 4, "iTXt", 4))
            return copy_text(e, text, (size_t)(start + body - text), comment);
        at += body + 12;
    }
    return LM_OK;
}

// A comment extension after the header and the global palette: 21 FE, blocks of at most 255 bytes, 0.
lm_status lm_gif_insert_comment(lm_error *e, lm_bytes *gif, const char *comment) {
    size_t left = strlen(comment);
    lm_bytes blocks = {0};
    lm_status status = lm_bytes_write(e, &blocks, 0, "\x21\xfe", 2);
    while (status == LM_OK && left) {
        uint8_t n = (uint8_t)(left < GIF_BLOCK ? left : GIF_BLOCK);
        status = lm_bytes_write(e, &blocks, blocks.size, &n, 1);
        if (status == LM_OK) status = lm_bytes_write(e, &blocks, blocks.size, comment, n);
        comment += n, left -= n;
    }
    if (status == LM_OK) status = lm_bytes_write(e, &blocks, blocks.size, "", 1);
    size_t palette = gif->size > GIF_HEADER && gif->data[10] & 0x80 ? (size_t)6 << (gif->data[10] & 7) : 0;
    if (status == LM_OK && gif->size < GIF_HEADER + palette)
        status = lm_fail(e, LM_MEDIA, "a GIF that can't take a comment");
    if (status == LM_OK) status = lm_bytes_insert(e, gif, GIF_HEADER + palette, blocks.data, blocks.size);
    lm_bytes_free(&blocks);
    return status;
}

static const struct {
    char character;
    const char *entity;
} entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&apos;"}};
enum { ENTITIES = sizeof entities / sizeof *entities, LONGEST_ENTITY = 6 };

// XML-escapes text to out, which has room for LONGEST_ENTITY times its length.
static void escape(const char *text, char *out) {
    for (; *text; text++) {
        int i = 0;
        while (i < ENTITIES && entities[i].character != *text) i++;
        out = i < ENTITIES ? stpcpy(out, entities[i].entity) : (*out = *text, out + 1);
    }
    *out = 0;
}

static void unescape(char *text) {
    char *out = text;
    while (*text) {
        int i = 0;
        while (i < ENTITIES && strncmp(text, entities[i].entity, strlen(entities[i].entity))) i++;
        *out++ = i < ENTITIES ? entities[i].character : *text;
        text += i < ENTITIES ? strlen(entities[i].entity) : 1;
    }
    *out = 0;
}

lm_status lm_xmp_make(lm_error *e, const char *text, char **xmp) {
    *xmp = NULL;
    char *escaped = lm_alloc(strlen(text) + 1, LONGEST_ENTITY);
    if (escaped) {
        escape(text, escaped);
        *xmp =
            lm_format("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
                      "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
                      "<rdf:Description rdf:about=\"\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><dc:description>"
                      "<rdf:Alt><rdf:li xml:lang=\"x-default\">%s</rdf:li></rdf:Alt>"
                      "</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>",
                      escaped);
    }
    lm_free(escaped);
    return *xmp ? LM_OK : lm_fail_memory(e, (double)strlen(text), "a recipe");
}

lm_status lm_xmp_find(lm_error *e, const char *xmp, char **text) {
    *text = NULL;
    const char *p = strstr(xmp, "<dc:description");
    if (p) p = strstr(p, "<rdf:li");
    if (p) p = strchr(p, '>');
    const char *end = p ? strstr(p, "</rdf:li>") : NULL;
    if (!end) return LM_OK;
    LM_TRY(copy_text(e, (const uint8_t *)p + 1, (size_t)(end - p - 1), text));
    unescape(*text);
    return LM_OK;
}
