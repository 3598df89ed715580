// What a command says when a call fails for a reason that the library's context doesn't know: a command's own shortage
// of memory, such as stylize's for its sheet. The command's sources are taken in whole, for they are no library.
#include "../../cli/base_clip.c"
#include "../../cli/commands.c"
#include "../../cli/making.c"
#undef AT
#include "../../cli/options.c"
#include "../../cli/output.c"
#include "../../cli/run_files.c"
#include "../../cli/say.c"
#include "cli/tiny_model.h"

// Fails for the sheet of the test below alone.
enum { SHEET_BYTES = (4 * 8 + 3 * 2) * (2 * 8 + 2) * 3 };
static int refused_sheets;
static void *refuse_sheets(size_t size) {
    refused_sheets += size == SHEET_BYTES;
    return size == SHEET_BYTES ? NULL : malloc(size);
}
#define malloc refuse_sheets
#include "../../cli/cmd_stylize.c"
#undef malloc

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static FILE *said;
static int kept;

// What is said on stderr from here on goes to a file, up to end_listening, which gives it.
static void begin_listening(void) {
    said = tmpfile();
    assert_non_null(said);
    fflush(stderr);
    kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && dup2(fileno(said), STDERR_FILENO) >= 0);
}

static void end_listening(char *text, size_t size) {
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(said);
    size_t n = fread(text, 1, size - 1, said);
    text[n] = 0;
    fclose(said);
}

static int report(const lumiere_context *c, lumiere_status status, char *text, size_t size) {
    begin_listening();
    int code = report_failure(c, status);
    end_listening(text, size);
    return code;
}

static void a_failure_has_a_message(void **state) {
    (void)state;
    char text[300];
    lumiere_context *c;
    lumiere_clip *clip;
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    assert_int_equal(report(c, LUMIERE_MEMORY, text, sizeof text), 4);
    assert_string_equal(text, "lumiere: no memory\n");
    assert_int_equal(report(c, LUMIERE_FAILED, text, sizeof text), 1);
    assert_string_equal(text, "lumiere: failed for an unknown reason\n");
    assert_int_equal(lumiere_clip_read(c, "/nonexistent", &clip), LUMIERE_MEDIA);
    assert_int_equal(report(c, LUMIERE_MEDIA, text, sizeof text), 5);
    assert_string_equal(text, "lumiere: can't read '/nonexistent': No such file or directory\n");
    lumiere_context_free(&c);
}

static void a_sheet_without_memory_has_a_message(void **state) {
    (void)state;
    char text[500], folder[300], style[400], file[400], *work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    snprintf(style, sizeof style, "%s/wild.safetensors", folder);
    snprintf(file, sizeof file, "%s/strip.png", work);
    tiny_model_make(folder);
    tiny_model_write_style(folder, style);
    char *arguments[] = {"stylize", "a bee", "--model", folder, "--style", style, "--style-strip",
                         "0,1",     "-o",    file,      "-q",   "-t",      "1",   NULL};
    begin_listening();
    int code = command_stylize.run(&command_stylize, 13, arguments);
    end_listening(text, sizeof text);
    assert_string_equal(text, "lumiere: no memory for a sheet\n");
    assert_int_equal(code, 4);
    assert_int_equal(refused_sheets, 1);
    assert_int_not_equal(access(file, F_OK), 0);
    temporary_remove(work);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failure_has_a_message),
                                       cmocka_unit_test(a_sheet_without_memory_has_a_message)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
