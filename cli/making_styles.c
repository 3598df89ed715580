// --style, --style-alpha and --style-hash of the commands that make clips.
#include "making.h"

#include <stdlib.h>
#include <string.h>

static int parse_alpha(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    if (*text && !*end && *out >= 0 && *out <= 1) return GO_ON;
    return complain(2, "--style-alpha is \"%.40s\"; it must be a number from 0 to 1", text);
}

bool is_style_file(const char *style) {
    static const char ending[] = ".safetensors";
    size_t n = strlen(style), m = sizeof ending - 1;
    return strchr(style, '/') || (n > m && !strcmp(style + n - m, ending));
}

int making_styles(const making_settings *s, double first_alpha, lumiere_style out[LUMIERE_MOST_STYLES]) {
    int n = s->style.count, alphas = s->style_alpha.count, hashes = s->style_hash.count;
    if (n > LUMIERE_MOST_STYLES) return complain(2, "%d styles; at most %d are possible", n, LUMIERE_MOST_STYLES);
    if (alphas && alphas != n)
        return complain(2, "%d --style-alpha and %d --style; give one for each style, or none", alphas, n);
    if (hashes && hashes != n)
        return complain(2, "%d --style-hash and %d --style; give one for each style, or none", hashes, n);
    for (int i = 0; i < n; i++) {
        out[i] = (lumiere_style){.style = s->style.items[i],
                                 .alpha = LUMIERE_STYLE_ALPHA / n,
                                 .hash = hashes ? s->style_hash.items[i] : NULL};
        int code = alphas ? parse_alpha(s->style_alpha.items[i], &out[i].alpha) : GO_ON;
        if (code != GO_ON) return code;
    }
    if (n && first_alpha >= 0) out[0].alpha = first_alpha;
    return GO_ON;
}
