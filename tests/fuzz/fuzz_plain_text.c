// Any bytes as a text to be shown: what comes out has no control characters, stays the same when it is escaped again,
// and is cut between characters.
#include "base/plain_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, input, size);
    text[size] = 0;
    size_t n = lm_text_escape(NULL, 0, text);
    char *shown = malloc(n + 1), *again = malloc(n + 1);
    require(shown && again && lm_text_escape(shown, n + 1, text) == n && strlen(shown) == n);
    for (size_t i = 0; i < n; i++) require((unsigned char)shown[i] >= 0x20 && shown[i] != 0x7f);
    require(lm_text_escape(again, n + 1, shown) == n && !strcmp(shown, again));
    size_t room = n ? input[0] % n + 1 : 1;
    require(lm_text_escape(again, room, text) == n && strlen(again) < room && !strncmp(again, shown, strlen(again)));
    free(again);
    free(shown);
    free(text);
    return 0;
}
