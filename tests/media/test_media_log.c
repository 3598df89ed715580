// What reading and writing files does to FFmpeg's log, which belongs to the whole process: its level stays, and codecs,
// which have an offset of their own, add nothing to it at the usual level.
#include "media_test.h"

#include "base/memory.h"

#include <libavutil/log.h>
#include <stdio.h>
#include <string.h>

static char heard[1024]; // the codecs' messages of AV_LOG_INFO and above
static int messages;     // of anything, at any level

static void listen(void *object, int level, const char *format, va_list values) {
    const AVClass *class = object ? *(AVClass **)object : NULL;
    messages++;
    if (level > AV_LOG_INFO || !class || strcmp(class->class_name, "AVCodecContext")) return;
    size_t used = strlen(heard);
    vsnprintf(heard + used, sizeof heard - used, format, values);
}

static const char *const names[] = {"a.mp4", "a.webm", "a.gif", "a.apng", "a.webp", "a.npy"};
enum { NAMES = sizeof names / sizeof *names };

static void use_files(void) {
    lm_clip c = make_clip(4, 48, 32, 3);
    for (int i = 0; i < NAMES; i++) {
        write_clip(names[i], &c, NULL);
        lm_clip back = read_clip(names[i]);
        assert_int_equal(back.frames, 4);
        lm_clip_free(&back);
    }
    lm_clip_free(&c);
}

static void use_damaged_file(void) {
    static const uint8_t bytes[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR and nothing more";
    lm_error e = {0};
    lm_clip c;
    char *recipe;
    assert_error(&e, LM_MEDIA, lm_media_read_memory(&e, "bad.png", bytes, sizeof bytes, 0, &c), "bad.png");
    store_bytes("bad.mp4", bytes, sizeof bytes);
    lm_error_clear(&e);
    lm_media_read_recipe(&e, "bad.mp4", &recipe);
    lm_free(recipe);
}

static void level_stays(void **state) {
    (void)state;
    static const int levels[] = {AV_LOG_INFO, AV_LOG_QUIET, AV_LOG_ERROR, AV_LOG_TRACE};
    av_log_set_callback(listen); // quiet in the test's own output
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        av_log_set_level(levels[i]);
        use_files();
        use_damaged_file();
        assert_int_equal(av_log_get_level(), levels[i]);
    }
    av_log_set_callback(av_log_default_callback);
}

static void codecs_are_quiet(void **state) {
    (void)state;
    av_log_set_level(AV_LOG_INFO);
    av_log_set_callback(listen);
    messages = 0;
    heard[0] = 0;
    use_files();
    av_log_set_callback(av_log_default_callback);
    assert_string_equal(heard, "");
    assert_true(messages > 0); // FFmpeg was heard at all
}

static void silence_is_asked_for(void **state) {
    (void)state;
    av_log_set_level(AV_LOG_INFO);
    lm_media_silence_ffmpeg();
    assert_int_equal(av_log_get_level(), AV_LOG_QUIET);
    use_files();
    assert_int_equal(av_log_get_level(), AV_LOG_QUIET);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_stays),
        cmocka_unit_test(codecs_are_quiet),
        cmocka_unit_test(silence_is_asked_for),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
