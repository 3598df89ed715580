// What a command says when a call fails for a reason that the library's context doesn't know: a command's own shortage
// of memory, such as stylize's for its sheet. The command's sources are taken in whole, for they are no library.
#include "../../cli/commands.c"
#include "../../cli/say.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

// Runs report_failure with stderr going to text.
static int report(const lumiere_context *c, lumiere_status status, char *text, size_t size) {
    FILE *said = tmpfile();
    assert_non_null(said);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && dup2(fileno(said), STDERR_FILENO) >= 0);
    int code = report_failure(c, status);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(said);
    size_t n = fread(text, 1, size - 1, said);
    text[n] = 0;
    fclose(said);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_failure_has_a_message)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
