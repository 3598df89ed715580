"""Numbers for test vectors from a stated formula, the same here and in tests/op/formula.h.

value(seed, i) in [-1, 1): the upper 24 bits of SplitMix64's output for the state seed * 2^32 + i, so exact in fp32.
"""
import numpy as np

SAMPLES = 32


def bits(seed, index):
    """24 random bits for each index."""
    with np.errstate(over="ignore"):
        z = (np.uint64(seed) << np.uint64(32)) + np.asarray(index, np.uint64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))) >> np.uint64(40)


def values(seed, shape):
    n = int(np.prod(shape))
    return (bits(seed, np.arange(n)).astype(np.float64) / 2 ** 23 - 1).reshape(shape)


def name_seed(name):
    """FNV-1a of a tensor's name, 31 bits."""
    h = 0x811C9DC5
    for c in name.encode():
        h = (h ^ c) * 0x01000193 & 0xFFFFFFFF
    return h >> 1


def sample_index(n):
    """One element out of each of SAMPLES equal stretches; all when there are no more."""
    if n <= SAMPLES:
        return np.arange(n)
    k = np.arange(SAMPLES)
    low, high = k * n // SAMPLES, (k + 1) * n // SAMPLES
    return low + (bits(n, k).astype(np.int64) % (high - low))


def record(y):
    """What is committed of an output: its samples, sum and sum of squares, as fp32."""
    y = np.asarray(y, np.float64).ravel()
    return np.concatenate([y[sample_index(y.size)], [y.sum(), (y * y).sum()]]).astype("<f4")
