#!/usr/bin/env python3
"""Does the model do what the prompt says? Backgrounds, directions, and a contact sheet, from fixed seeds.

    bench/evaluate_model.py [--lumiere build/lumiere] [--model models/emoji] [--work out/evaluation] [--sheet docs/prompts.png]
                            [--rows colours,directions,sheet] [--size N] [--steps N]

colours     13 prompts; a clip passes when the mean of its four corners (3x3 pixels each, all frames) is within 40/255 of the
            asked colour in every channel. Asked: 11 of 13.
directions  20 prompts; a clip passes when the centre of its foreground moves at least 0.15 of the width the asked way between
            the first and the last fifth of the clip. Foreground: pixels that differ from the corners' colour by more than 40/255
            in some channel; frames without 1 % of such pixels don't count. Asked: 14 of 20.
sheet       20 prompts as they came out, ten frames each.
"""
import os
import subprocess

from arguments import evaluate, evaluation_parser, parse
from clips import read_npy, write_sheet

COLOURS = {"white": (255, 255, 255), "black": (20, 20, 20), "gray": (128, 128, 128), "red": (220, 50, 50), "orange": (245, 150, 50),
           "yellow": (250, 220, 80), "green": (70, 170, 80), "blue": (60, 110, 220), "light blue": (150, 205, 250),
           "purple": (140, 80, 190), "pink": (250, 160, 195), "brown": (130, 85, 55), "teal": (40, 150, 150)}
SUBJECTS = ["a red apple", "a bee", "a cat face", "a rocket", "a soccer ball", "a red heart", "a snowman", "a dog face", "a star",
            "a pizza", "a fish", "a tree", "a car"]
WAYS = {"moving from left to right": (1, 0), "moving from right to left": (-1, 0), "rising from bottom to top": (0, -1),
        "falling from top to bottom": (0, 1)}
MOVERS = ["a rocket", "a red heart", "a bee", "a soccer ball", "a cat face"]
SHEET = ["a rocket, moving from left to right", "a bee, moving from right to left", "a balloon, rising from bottom to top",
         "a snowflake, falling from top to bottom, on a blue background", "a soccer ball, bouncing up and down, on a green background",
         "a star, spinning clockwise", "a pizza, spinning counterclockwise, on a red background", "a red heart, growing bigger, on a pink background",
         "a full moon, getting smaller, on a black background", "a bell, swinging from side to side", "an airplane, moving in a circle, on a light blue background",
         "a fish, zigzagging across, on a teal background", "a grinning face", "a dog face", "a cat face, on a purple background", "a red apple, on a white background",
         "a snowman, on a light blue background", "a clown face", "a tiger", "an octopus, on a yellow background"]


def generate(a, name, prompt, seed, frames):
    path = os.path.join(a.work, name + ".npy")
    command = [a.lumiere, "generate", prompt, "--model", a.model, "--seed", str(seed), "--video-frames", str(frames), "-o", path, "--progress", "none", "--no-upscale", "-q"]
    if a.size:
        command += ["--width", str(a.size), "--height", str(a.size)]
    if a.steps:
        command += ["--steps", str(a.steps)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_npy(path)


def corner_colour(c):
    total, n = [0, 0, 0], 0
    for t in range(c.frames):
        for y in (0, 1, 2, c.height - 3, c.height - 2, c.height - 1):
            for x in (0, 1, 2, c.width - 3, c.width - 2, c.width - 1):
                for i, v in enumerate(c.pixel(t, y, x)):
                    total[i] += v
                n += 1
    return [v / n for v in total]


def centre(c, frames, back):
    """Mean position of the foreground over some frames, in widths; None when there is none."""
    sx = sy = n = 0
    for t in frames:
        found = [(x, y) for y in range(c.height) for x in range(c.width) if max(abs(v - b) for v, b in zip(c.pixel(t, y, x), back)) > 40]
        if len(found) >= 0.01 * c.width * c.height:
            sx += sum(x for x, _ in found) / len(found)
            sy += sum(y for _, y in found) / len(found)
            n += 1
    return (sx / n / c.width, sy / n / c.width) if n else None


def colours(a):
    passed = 0
    for i, (name, rgb) in enumerate(COLOURS.items()):
        c = generate(a, f"colour-{i:02}", f"{SUBJECTS[i]}, on a {name} background", 100 + i, 16)
        got = corner_colour(c)
        ok = max(abs(g - w) for g, w in zip(got, rgb)) <= 40
        passed += ok
        print(f"  {'ok  ' if ok else 'miss'} {name:11} asked {rgb}, corners {tuple(round(g) for g in got)}", flush=True)
    print(f"colours: {passed} of {len(COLOURS)} (asked: 11)", flush=True)
    return {"passed": passed, "of": len(COLOURS), "asked": 11}, passed >= 11


def directions(a):
    passed, clips = 0, []
    for i, subject in enumerate(MOVERS):
        for way, (dx, dy) in WAYS.items():
            seed = 1 if (subject, way) == ("a rocket", "moving from left to right") else 200 + len(clips)
            c = generate(a, f"direction-{len(clips):02}", f"{subject}, {way}", seed, 80)
            clips.append(c)
            back, fifth = corner_colour(c), c.frames // 5
            first, last = centre(c, range(fifth), back), centre(c, range(c.frames - fifth, c.frames), back)
            moved = (last[0] - first[0]) * dx + (last[1] - first[1]) * dy if first and last else None
            ok = moved is not None and moved >= 0.15
            passed += ok
            print(f"  {'ok  ' if ok else 'miss'} {subject}, {way}: " + (f"{moved:+.2f} widths" if moved is not None else "no foreground"), flush=True)
    write_sheet(os.path.join(a.work, "directions.png"), clips)
    print(f"directions: {passed} of {len(clips)} (asked: 14)", flush=True)
    return {"passed": passed, "of": len(clips), "asked": 14}, passed >= 14


def sheet(a):
    write_sheet(a.sheet, [generate(a, f"sheet-{i:02}", p, 300 + i, 80) for i, p in enumerate(SHEET)])
    print(f"sheet: {a.sheet}")
    return {"file": a.sheet, "prompts": SHEET}, True


ROWS = {"colours": colours, "directions": directions, "sheet": sheet}


def main():
    ap = evaluation_parser(__doc__, ROWS, "out/evaluation")
    ap.add_argument("--sheet", default="docs/prompts.png")
    ap.add_argument("--size", type=int, default=0)
    ap.add_argument("--steps", type=int, default=0)
    evaluate(parse(ap, ROWS), ROWS)


if __name__ == "__main__":
    main()
