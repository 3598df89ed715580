// Weights packed into layouts that oneDNN chooses, and back, at every instruction set this processor has.
#include "base/memory.h"
#include "device/cpu/conv_layout.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const dnnl_format_tag_t tags[] = {
    dnnl_AcdB16a2b,   dnnl_AcdB48a2b,    dnnl_Acdb8a,   dnnl_Acdb16a,  dnnl_Acdb32a,  dnnl_Acdb48a,
    dnnl_ABcd16a16b,  dnnl_ABcd16b16a,   dnnl_ABcd8b8a, dnnl_ABcd8a8b, dnnl_ABcd4b4a, dnnl_abcd,
    dnnl_ABcd8a16b2a, dnnl_ABcd16b16a4b, dnnl_cdba,     dnnl_acdb,     dnnl_bcda,
};
// o i h w
static const dnnl_dims_t shapes[] = {
    {96, 32, 3, 3}, {3, 20, 3, 3}, {20, 3, 3, 1},   {64, 48, 1, 1},
    {33, 17, 1, 1}, {1, 5, 1, 1},  {50, 150, 3, 1}, {17, 9, 9, 9},
};

static int tables(const cpu_simd **out) {
    int n = 0;
    out[n++] = &lm_cpu_simd_base;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = &lm_cpu_simd_avx2;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        out[n++] = &lm_cpu_simd_avx512;
#endif
    return n;
}

// Element i of the plain array for place (o, i, h, w) of the weights.
static int64_t plain_index(const int64_t *s, bool flipped, int64_t o, int64_t i, int64_t h, int64_t w) {
    if (flipped) return ((i * s[0] + o) * s[2] + s[2] - 1 - h) * s[3] + s[3] - 1 - w;
    return ((o * s[1] + i) * s[2] + h) * s[3] + w;
}

// Values that bf16 holds exactly: the place of each is what is tested here.
static float value_of(int64_t i) {
    return (float)(1 + i % 251) * (float)(1 << i / 251 % 16);
}

static void fill_plain(float *plain, int64_t n) {
    for (int64_t i = 0; i < n; i++) plain[i] = value_of(i);
}

static float packed_at(const conv_layout *l, const void *packed, int64_t at) {
    if (l->type == LM_F32) return ((const float *)packed)[at];
    uint32_t u = (uint32_t)((const uint16_t *)packed)[at] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

// How many of the packed elements are not what they should be, padding included.
static int64_t wrong_elements(const conv_layout *l, bool flipped, const float *plain, const void *packed) {
    const int64_t *s = l->size, *to = l->term, *ti = to + s[0], *th = ti + s[1], *tw = th + s[2];
    const int64_t places = (int64_t)(l->bytes / lm_dtype_size(l->type));
    float *right = lm_alloc_zero((size_t)places, sizeof *right);
    assert_non_null(right);
    for (int64_t o = 0; o < s[0]; o++)
        for (int64_t i = 0; i < s[1]; i++)
            for (int64_t h = 0; h < s[2]; h++)
                for (int64_t w = 0; w < s[3]; w++)
                    right[to[o] + ti[i] + th[h] + tw[w]] = plain[plain_index(s, flipped, o, i, h, w)];
    int64_t wrong = 0;
    for (int64_t at = 0; at < places; at++) wrong += packed_at(l, packed, at) != right[at];
    lm_free(right);
    return wrong;
}

static void check_layout(dn_md md, const cpu_simd *simd) {
    lm_error e = {0};
    conv_layout l;
    assert_int_equal(lm_conv_layout_of(&e, md, &l), LM_OK);
    const int64_t n = l.size[0] * l.size[1] * l.size[2] * l.size[3];
    float *plain = lm_alloc((size_t)n, sizeof *plain), *back = lm_alloc_zero((size_t)n, sizeof *back);
    void *packed = lm_alloc_zero(1, l.bytes);
    assert_true(plain && back && packed);
    fill_plain(plain, n);
    for (int flipped = 0; flipped < 2; flipped++) {
        memset(packed, 0, l.bytes);
        for (int64_t o = 0; o < l.size[0]; o += 32) // in pieces, as kernels do
            lm_conv_layout_pack(&l, simd, flipped, plain, o, o + 32 < l.size[0] ? o + 32 : l.size[0], packed);
        assert_int_equal(wrong_elements(&l, flipped, plain, packed), 0);
        if (flipped || l.type != LM_F32) continue;
        for (int64_t o = 0; o < l.size[0]; o += 16)
            lm_conv_layout_unpack(&l, simd, packed, o, o + 16 < l.size[0] ? o + 16 : l.size[0], back);
        assert_memory_equal(back, plain, (size_t)n * sizeof *plain);
    }
    lm_free(plain);
    lm_free(back);
    lm_free(packed);
    lm_conv_layout_free(&l);
}

static void test_layouts(void **state) {
    (void)state;
    const cpu_simd *simd[3];
    const int levels = tables(simd);
    for (size_t t = 0; t < sizeof tags / sizeof *tags; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int bf16 = 0; bf16 < 2; bf16++)
                for (int level = 0; level < levels; level++) {
                    dn_layout layout = {0};
                    assert_int_equal(lm_dn_layout_tagged(&layout, 4, shapes[s], bf16 ? LM_BF16 : LM_F32, tags[t]),
                                     dnnl_success);
                    check_layout(dn_md_of(&layout), simd[level]);
                    lm_dn_layout_free(&layout);
                }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
