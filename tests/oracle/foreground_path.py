#!/usr/bin/env python3
"""Where bench/evaluate_model.py sees the foreground of a clip made by a formula, for tests/measure/test_measures.c.

    tests/oracle/foreground_path.py

Prints the mean position in the first and the last fifth and their difference, in widths.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
from clips import Clip
from evaluate_model import centre, corner_colour

FRAMES, WIDTH, HEIGHT = 23, 37, 29


def value(t, y, x, k):
    """A disc that goes down to the right over a rough background, and isn't there in frames 2 and 20."""
    a, b = 10 * x - (60 + 9 * t), 10 * y - (50 + 7 * t)
    inside = a * a + b * b < 6400 and t not in (2, 20)
    return 30 + (x * 7 + y * 13 + t * 5 + k * 11) % 17 + (180 - 60 * k if inside else 0)


clip = Clip(FRAMES, HEIGHT, WIDTH, bytes(value(t, y, x, k) for t in range(FRAMES) for y in range(HEIGHT) for x in range(WIDTH) for k in range(3)))
back = corner_colour(clip)
first, last = centre(clip, range(FRAMES // 5), back), centre(clip, range(FRAMES - FRAMES // 5, FRAMES), back)
print(f"first {first[0]:.12f} {first[1]:.12f}\nlast {last[0]:.12f} {last[1]:.12f}\nmoved {last[0] - first[0]:.12f} {last[1] - first[1]:.12f}")
