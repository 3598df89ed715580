#!/usr/bin/env python3
"""Draws metrics.csv files of `lumiere train` as one SVG: running loss (thin) and validation loss (dots) over time.

    bench/plot_metrics.py docs/training.svg NAME=metrics.csv [NAME=metrics.csv ...]

The runs follow each other on the horizontal axis, in the order given.
"""
import csv
import math
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 390, 60, 40, 44
COLOURS = ["#1f6feb", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a"]


def read(path):
    with open(path) as f:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(f)]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    runs = [(a.split("=", 1)[0], read(a.split("=", 1)[1])) for a in sys.argv[2:]]
    total = sum(rows[-1]["seconds"] for _, rows in runs)
    values = [v for _, rows in runs for r in rows for v in (r["loss"], r.get("validation_loss")) if v]
    low, high = math.log10(min(values) * 0.95), math.log10(min(max(values), 0.6) * 1.05)

    def x(seconds):
        return LEFT + (WIDTH - LEFT - 20) * seconds / total

    def y(loss):
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - min(max(math.log10(loss), low), high)) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in (0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5):
        if low <= math.log10(tick) <= high:
            out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>'
                       f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    start = 0
    for i, (name, rows) in enumerate(runs):
        colour = COLOURS[i % len(COLOURS)]
        line = " ".join(f'{x(start + r["seconds"]):.1f},{y(r["loss"]):.1f}' for r in rows)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-opacity="0.45"/>')
        for r in rows:
            if r.get("validation_loss"):
                out.append(f'<circle cx="{x(start + r["seconds"]):.1f}" cy="{y(r.get("validation_loss")):.1f}" r="3" fill="{colour}"/>')
        last = rows[-1]
        at = min(x(start) + 6, WIDTH - 210)     # room for the label
        out.append(f'<text x="{at:.1f}" y="{TOP - 28 + 14 * (i % 3)}" fill="{colour}">{name}: {last["samples"]:.0f} samples, '
                   f'{last["seconds"] / 60:.0f} min</text>')
        if start:
            out.append(f'<line x1="{x(start):.1f}" x2="{x(start):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#999" stroke-dasharray="4"/>')
        start += last["seconds"]
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">time, {total / 60:.0f} minutes in all (log of the v-loss upwards; dots: validation)</text></svg>')
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
