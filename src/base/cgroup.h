// What control groups leave to this process: versions 1 and 2, also side by side, in its own group and all groups above
// it that are mounted. root goes before every path that is read ("": the machine's own files), for tests.
#pragma once
#include <stdint.h>

// Bytes that the narrowest group can still give; UINT64_MAX: no limit. Pages of files that the kernel can drop count as
// free, swap doesn't count. Above memory.high a process is slowed down so much that it is taken as a limit too.
uint64_t lm_cgroup_memory_left(const char *root);
// Processors' worth of time, rounded up; INT_MAX: no limit. Sets of processors (cpuset) show in the affinity mask.
int lm_cgroup_processors(const char *root);

// First number in a small text file such as those of /proc, after a key at the beginning of a line (NULL: none);
// UINT64_MAX when there is none, as for "max".
uint64_t lm_number_in_file(const char *path, const char *key);
