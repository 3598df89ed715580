// Defects that are known and not yet mended. Each test comes to the point where it sees what is wrong, with all else
// checked as usual, and says there what would be right: it passes while that is not so, and fails once it is, so that
// whoever mends the defect turns it into an ordinary test beside its relatives.
#include "cli/clip_files.h"
#include "cli/run_options.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include "pipeline/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *work, folder[300];
static command_result r;

static void expect_still_wrong(bool right, const char *defect) {
    if (right) fail_msg("mended: %s; move this test to its relatives and let it expect what is right", defect);
    print_message("known: %s\n", defect);
}

// The command reads the beginning of the input and the whole mask, so that a mask made for the input seems too long.
static void masks_as_long_as_their_clip_fit(void **state) {
    (void)state;
    enum { FRAMES = 40, SIDE = 8 };
    char path[400];
    lm_clip clip;
    assert_int_equal(lm_clip_alloc(NULL, FRAMES, SIDE, SIDE, 3, &clip), LM_OK);
    clip.fps = 8;
    memset(clip.data, 200, (size_t)FRAMES * SIDE * SIDE * 3);
    snprintf(path, sizeof path, "%s/in.mp4", work);
    write_clip(&clip, path);
    snprintf(path, sizeof path, "%s/mask.mp4", work);
    write_clip(&clip, path);
    RUN(&r, work, "inpaint", "in.mp4", "a bee", "--mask", "mask.mp4", "--model", folder, "-o", "out.npy", "-q");
    if (r.code != 0 && !strstr(r.err, "the mask has 40 frames and the input ")) fail_msg("another failure: %s", r.err);
    expect_still_wrong(r.code == 0, "a mask as long as its clip is refused");
    lm_clip_free(&clip);
}

static int set_up(void **state) {
    (void)state;
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_as_long_as_their_clip_fit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
