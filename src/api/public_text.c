// Texts of the public interface.
#include "lumiere/lumiere.h"

#include "base/plain_text.h"

size_t lumiere_text_escape(char *out, size_t size, const char *text) {
    return lm_text_escape(out, size, text);
}
