// What threads ask of the processor that C has no words for. Private to base.
#pragma once
#include <stdint.h>

// Numbers below 2^-126 are taken as 0 from now on by this thread. Returned: the setting before.
static inline uint64_t flush_subnormals(void) {
#if defined(__x86_64__)
    unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | 0x8040); // results (FTZ) and operands (DAZ)
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1u << 24)); // FZ
    return before;
#else
    return 0;
#endif
}

static inline void set_subnormals(uint64_t setting) {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)setting);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(setting));
#else
    (void)setting;
#endif
}

// Within a loop that waits for another thread.
static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}
