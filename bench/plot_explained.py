#!/usr/bin/env python3
"""Draws explained.csv files of `lumiere train` as one SVG: variance of x0 explained (R2) over the clips trained on.

    bench/plot_explained.py out/explained.svg NAME=explained.csv [NAME=explained.csv ...] [--time 0.999]

A run has a colour; lines: training subjects (thick; thin: pooled to 8x8), with reworded captions (dotted), left-out subjects (dashed).
"""
import argparse
import csv

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 390, 60, 40, 44
COLOURS = ["#1f6feb", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a"]
LINES = [("training", "right", "explained", 'stroke-width="2.5"'), ("training", "right", "explained_8x8", 'stroke-width="1"'),
         ("training", "reworded", "explained", 'stroke-dasharray="1 3"'), ("left out", "right", "explained", 'stroke-dasharray="6 3"')]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("svg")
    parser.add_argument("runs", nargs="+", metavar="NAME=explained.csv")
    parser.add_argument("--time", default="0.999", help="diffusion time, as it stands in the file")
    a = parser.parse_args()
    runs = []
    for run in a.runs:
        name, _, path = run.partition("=")
        with open(path) as f:
            runs.append((name, [r for r in csv.DictReader(f) if r["time"] == a.time]))
    most = max(int(r["samples"]) for _, rows in runs for r in rows)

    def at(samples, share):
        return f"{LEFT + (WIDTH - LEFT - 20) * samples / most:.1f},{TOP + (HEIGHT - TOP - BOTTOM) * (1 - max(share, 0)):.1f}"

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in range(0, 11, 2):
        y = at(0, tick / 10).split(",")[1]
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y}" text-anchor="end">{tick / 10}</text>')
    for i, (name, rows) in enumerate(runs):
        colour = COLOURS[i % len(COLOURS)]
        for subjects, caption, column, style in LINES:
            points = " ".join(at(int(r["samples"]), float(r[column])) for r in rows if (r["subjects"], r["caption"]) == (subjects, caption))
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" {style}/>')
        out.append(f'<text x="{LEFT + 200 * (i % 4)}" y="{TOP - 28 + 14 * (i // 4)}" fill="{colour}">{name}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">clips, {most} in all (variance of x0 explained at t = {a.time}; '
               'thick: training subjects, thin: pooled to 8x8, dotted: reworded, dashed: left out)</text></svg>')
    with open(a.svg, "w") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
