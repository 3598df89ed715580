// What `cmake --install` puts down is complete: a stranger's program finds the library by pkg-config and by CMake, the
// header is C and C++, the command runs, and the shared library shows nothing but its own functions.
#include "cli/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char *work;

#if defined(__SANITIZE_ADDRESS__)
#define FLAGS "-Wall -Wextra -Werror -fsanitize=address,undefined"
#else
#define FLAGS "-Wall -Wextra -Werror"
#endif
// In the temporary folder, where the installation is in prefix/ and a model in tiny/.
#define FIND "export PKG_CONFIG_PATH=$(dirname $(find $PWD/prefix -name lumiere.pc)) && "
#define LIBRARY "LD_LIBRARY_PATH=$(dirname $(find $PWD/prefix -name liblumiere.so)) "
#define EXAMPLE LM_SOURCE_DIR "/examples/prompt_to_file.c"
#define TASK_EXAMPLE LM_SOURCE_DIR "/examples/task_to_file.c"
#define STYLE_EXAMPLE LM_SOURCE_DIR "/examples/style_to_file.c"
#define UPSCALE_EXAMPLE LM_SOURCE_DIR "/examples/enlarge_file.c"

// Runs a line of shell in the temporary folder. It must end with 0; what it printed is shown when it doesn't.
static void shell(const char *line) {
    char whole[4096], said[4096] = "";
    int n = snprintf(whole, sizeof whole, "cd %s && { %s ; } 2>&1", work, line);
    assert_true(n > 0 && n < (int)sizeof whole);
    FILE *f = popen(whole, "r");
    assert_non_null(f);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    for (char rest[512]; fread(rest, 1, sizeof rest, f) > 0;) continue;
    int status = pclose(f);
    if (status) fail_msg("%s\nended with %d: %s", line, WEXITSTATUS(status), said);
}

static void write_file(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", work, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int install(void **state) {
    (void)state;
    char model[512], style[512];
    work = temporary_make();
    snprintf(model, sizeof model, "%s/tiny", work);
    tiny_model_make(model);
    snprintf(style, sizeof style, "%s/wild.safetensors", work);
    tiny_model_write_style(model, style);
    snprintf(model, sizeof model, "%s/large", work);
    tiny_model_make(model);
    tiny_model_add_ssr(model);
    shell(LM_CMAKE " --install " LM_BINARY_DIR " --prefix $PWD/prefix");
    return 0;
}

static int clean(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

static void the_command_and_the_model_are_installed(void **state) {
    (void)state;
    shell("prefix/bin/lumiere --version | grep -q " LUMIERE_VERSION);
    shell("prefix/bin/lumiere generate 'a bee' --model tiny -o clip.npy --progress none && test -s clip.npy");
    shell("cmp prefix/share/lumiere/models/emoji/text/vocab.txt " LM_SOURCE_DIR "/models/emoji/text/vocab.txt");
}

static void pkg_config_finds_the_shared_library(void **state) {
    (void)state;
    shell(FIND "test $(pkg-config --modversion lumiere) = " LUMIERE_VERSION);
    shell(FIND LM_CC " -std=c11 " FLAGS " -o by_pkg_config " EXAMPLE " $(pkg-config --cflags --libs lumiere)");
    shell("readelf -d by_pkg_config | grep -q 'NEEDED.*liblumiere.so.1'");
    shell(LIBRARY "./by_pkg_config 'a bee' by_pkg_config.npy tiny && test -s by_pkg_config.npy");
}

static void the_example_of_tasks_runs_them_all(void **state) {
    (void)state;
    shell("prefix/bin/lumiere generate 'a bee' --model tiny -s 1 -o given.gif -q");
    shell(FIND LM_CC " -std=c11 " FLAGS " -o tasks " TASK_EXAMPLE " $(pkg-config --cflags --libs lumiere)");
    shell("for t in animate inpaint outpaint cinemagraph edit; do " LIBRARY
          "./tasks $t given.gif 'a rocket' $t.npy tiny && test -s $t.npy || exit 1; done");
    shell("! " LIBRARY "./tasks fly given.gif 'a rocket' fly.npy tiny && ! test -e fly.npy");
    shell("test $(wc -l < " TASK_EXAMPLE ") -lt 60");
}

static void the_example_of_styles_runs(void **state) {
    (void)state;
    shell(FIND LM_CC " -std=c11 " FLAGS " -o styles " STYLE_EXAMPLE " $(pkg-config --cflags --libs lumiere)");
    shell(LIBRARY "./styles 'a bee' wild.safetensors styled.npy tiny && test -s styled.npy");
    shell(LIBRARY "./styles 'a bee' wild.safetensors plain.npy tiny 0 && ! cmp -s styled.npy plain.npy");
    shell("! " LIBRARY "./styles 'a bee' tame never-styled.npy tiny && ! test -e never-styled.npy");
    shell("test $(wc -l < " STYLE_EXAMPLE ") -lt 60");
}

static void the_example_of_super_resolution_runs(void **state) {
    (void)state;
    shell("prefix/bin/lumiere generate 'a bee' --model tiny -s 1 -f 3 -o little.npy -q");
    shell(FIND LM_CC " -std=c11 " FLAGS " -o enlarge " UPSCALE_EXAMPLE " $(pkg-config --cflags --libs lumiere)");
    shell(LIBRARY "./enlarge little.npy 'a bee' enlarged.npy large && test -s enlarged.npy");
    shell("! " LIBRARY "./enlarge little.npy 'a bee' never.npy tiny && ! test -e never.npy");
    shell("test $(wc -l < " UPSCALE_EXAMPLE ") -lt 60");
}

// Not `pkg-config --static --libs`: that asks for FFmpeg's own libraries too, whose static files Debian does not have.
static void pkg_config_names_what_the_static_library_needs(void **state) {
    (void)state;
    shell(FIND LM_CC " -std=c11 " FLAGS " -o by_static " EXAMPLE " $(pkg-config --cflags lumiere)"
                     " $(find $PWD/prefix -name liblumiere.a)"
                     " $(pkg-config --libs $(pkg-config --print-requires-private lumiere))"
                     " $(sed -n 's/^Libs.private: //p' $PKG_CONFIG_PATH/lumiere.pc)");
    shell("! readelf -d by_static | grep 'NEEDED.*liblumiere'");
    shell("./by_static 'a bee' by_static.npy tiny && test -s by_static.npy");
}

static void cmake_finds_the_shared_library(void **state) {
    (void)state;
    write_file("CMakeLists.txt", "cmake_minimum_required(VERSION 3.22)\n"
                                 "project(stranger C)\n"
                                 "find_package(lumiere " LUMIERE_VERSION " REQUIRED)\n"
                                 "add_executable(by_cmake " EXAMPLE ")\n"
                                 "target_link_libraries(by_cmake PRIVATE lumiere::lumiere)\n");
    shell(LM_CMAKE " -G '" LM_GENERATOR "' -S . -B build -DCMAKE_PREFIX_PATH=$PWD/prefix -DCMAKE_C_COMPILER=" LM_CC
                   " -DCMAKE_C_FLAGS='" FLAGS "' && " LM_CMAKE " --build build");
    shell("build/by_cmake 'a bee' by_cmake.npy tiny && test -s by_cmake.npy");
}

// The same program as C++, with a class that owns what the C functions make.
static void the_header_is_cpp(void **state) {
    (void)state;
    write_file("stranger.cpp", "#include <lumiere/lumiere.h>\n"
                               "#include <cstdio>\n"
                               "struct context {\n"
                               "    lumiere_context *c = nullptr;\n"
                               "    ~context() { lumiere_context_free(&c); }\n"
                               "};\n"
                               "int main(int, char **argv) {\n"
                               "    context it;\n"
                               "    lumiere_model *m = nullptr;\n"
                               "    if (lumiere_context_create(nullptr, &it.c) != LUMIERE_OK) return 1;\n"
                               "    if (lumiere_model_open(it.c, argv[1], &m) != LUMIERE_OK) return 2;\n"
                               "    std::puts(lumiere_model_name(m));\n"
                               "    lumiere_model_free(&m);\n"
                               "    return 0;\n"
                               "}\n");
    shell(FIND "g++ -std=c++17 -pedantic " FLAGS
               " -o by_cpp stranger.cpp $(pkg-config --cflags --libs lumiere) && " LIBRARY
               "./by_cpp tiny | grep -qx tiny");
    shell(FIND "g++ -x c++ -std=c++20 " FLAGS " -Wno-missing-field-initializers -fsyntax-only " EXAMPLE
               " $(pkg-config --cflags lumiere)");
}

// Nothing need be included before it, by either language's rules to the letter.
static void the_header_stands_alone(void **state) {
    (void)state;
    write_file("alone.c", "#include <lumiere/lumiere.h>\n"
                          "int alone;\n");
    shell(FIND LM_CC " -std=c11 -pedantic " FLAGS " -fsyntax-only alone.c $(pkg-config --cflags lumiere)");
    shell(FIND "g++ -x c++ -std=c++17 -pedantic " FLAGS " -fsyntax-only alone.c $(pkg-config --cflags lumiere)");
}

// A program of C++17 with the library inside it, which makes a clip.
static void cpp_links_the_static_library(void **state) {
    (void)state;
    write_file(
        "inside.cpp",
        "#include <lumiere/lumiere.h>\n"
        "#include <memory>\n"
        "#include <string>\n"
        "#define OWNED(type) \\\n"
        "    struct free_##type { void operator()(lumiere_##type *p) const { lumiere_##type##_free(&p); } }; \\\n"
        "    using type = std::unique_ptr<lumiere_##type, free_##type>\n"
        "OWNED(context); OWNED(model); OWNED(request); OWNED(clip);\n"
        "template <class T, class F> T made(F make) { typename T::pointer p = nullptr; make(&p); return T(p); }\n"
        "int main(int, char **argv) {\n"
        "    auto c = made<context>([](auto p) { return lumiere_context_create(nullptr, p); });\n"
        "    auto m = made<model>([&](auto p) { return lumiere_model_open(c.get(), argv[1], p); });\n"
        "    auto r = made<request>([](auto p) { return lumiere_request_create(\"generate\", p); });\n"
        "    for (int i = 0; auto *s = lumiere_setting_at(\"generate\", i); i++)\n"
        "        if (std::string(s->key) == \"frames\") lumiere_request_set(r.get(), s->key, \"3\");\n"
        "    lumiere_request_set(r.get(), \"prompt\", \"a bee\");\n"
        "    auto k = made<clip>([&](auto p) { return lumiere_request_run(r.get(), m.get(), p); });\n"
        "    return k && lumiere_clip_frames(k.get()) == 3 ? 0 : 1;\n"
        "}\n");
    shell(FIND "g++ -std=c++17 -pedantic " FLAGS " -o inside inside.cpp $(pkg-config --cflags lumiere)"
               " $(find $PWD/prefix -name liblumiere.a)"
               " $(pkg-config --libs $(pkg-config --print-requires-private lumiere))"
               " $(sed -n 's/^Libs.private: //p' $PKG_CONFIG_PATH/lumiere.pc) && ./inside tiny");
    shell("! readelf -d inside | grep 'NEEDED.*liblumiere'");
}

static void only_public_names_are_exported(void **state) {
    (void)state;
    shell("nm -D --defined-only $(find $PWD/prefix -name liblumiere.so) | awk '{print $NF}' | sed 's/@.*//' > names");
    shell("grep -q '^lumiere_request_run$' names");
    shell("! grep -v '^lumiere_' names");
    // each function of the header is there
    shell("grep -o 'lumiere_[a-z_]*(' prefix/include/lumiere/lumiere.h | tr -d '(' | sort -u > wanted && test -s "
          "wanted && "
          "sort -u names | comm -23 wanted - > missing && cat missing && test ! -s missing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_and_the_model_are_installed),
        cmocka_unit_test(pkg_config_finds_the_shared_library),
        cmocka_unit_test(the_example_of_tasks_runs_them_all),
        cmocka_unit_test(the_example_of_styles_runs),
        cmocka_unit_test(the_example_of_super_resolution_runs),
        cmocka_unit_test(pkg_config_names_what_the_static_library_needs),
        cmocka_unit_test(cmake_finds_the_shared_library),
        cmocka_unit_test(the_header_is_cpp),
        cmocka_unit_test(the_header_stands_alone),
        cmocka_unit_test(cpp_links_the_static_library),
        cmocka_unit_test(only_public_names_are_exported),
    };
    return cmocka_run_group_tests(tests, install, clean);
}
