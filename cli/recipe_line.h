// A recipe as the command line that makes its clip again.
#pragma once

struct json_t; // jansson.h

// Prints the line for a POSIX shell; the recipe is that of the file path, or NULL. Nothing of a recipe is believed: the
// command must be one that makes clips, and each value one that its option takes. 0, or the exit code of what has been
// said instead.
int recipe_line_print(const struct json_t *recipe, const char *path);
