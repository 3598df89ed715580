#!/usr/bin/env python3
"""One space-time network against the cascade it replaces: keyframes first, then what lies between them, window by window.

    bench/compare_cascade.py RUNS [--lumiere build/lumiere] [--model models/emoji] [--data data/emoji] [--work out/cascade] [--size 32]
                             [--steps 20] [--seeds 2] [--prompts N] [--page docs/cascade.md] [--sheet docs/cascade.png]

RUNS has a folder with config.json and model.safetensors for each network: lumiere, keys8, between8, keys16, between16.

lumiere     Space-Time U-Net: 80 frames in one pass.
cascade/8   The same image layers inflated without temporal resizing. keys8 makes frames 0, 8 ... 72; between8 fills windows of 9
            frames whose first and last are given as its condition (lumiere inpaint); the last window, 72 to 79, has its first only.
cascade/16  The same with frames 0, 16 ... 64, windows of 17 and a last one of 16.
asked       For orientation: the subject's own picture moved by the training data's formula. What a perfect model would make.

The same prompts, seeds, steps, guidance and sampler for all. Every figure is a mean over clips (a ratio: of the two means), with the
standard error by leaving out one prompt at a time. From `lumiere measure` (docs/measure.md): difference of neighbours, flicker, warping
error, loop closure. Beside these:

subject found      share of frames with a foreground: 1 % of pixels or more that differ from the corners' colour by over 40/255.
follows            correlation of the measured path with the asked one, 1 at best, 0 for a clip that stands still or has a subject in less
                   than half of its frames. Bouncing: height of the foreground's centre; circling: its place, both coordinates together;
                   swinging: the angle by which frame 0, turned about the middle, is nearest to a frame (least absolute difference
                   inside the inscribed circle).
extent             the path's standard deviation divided by the asked one's: 1 is as far as asked, 0 stands still.
jumpiness          the path's mean absolute second difference divided by the asked one's: 1 is as smooth as asked.
at every Nth       value at keyframes divided by the value elsewhere, for N = 8 and 16: 1 where keyframes can't be told from others.
                   Clips without keyframes, and the asked motion, are counted the same way, for comparison. Of the
  step             difference of neighbours, over the two steps that touch a keyframe (measure's seam ratio for windows of N + 1,1);
  kink             flicker (second difference of pixels), at the keyframe itself;
  turn of path     second difference of the path, at the keyframe itself;
  subject's size   |change of the foreground's area| from frame to frame, over the two steps that touch a keyframe;
  subject's colour |change of the foreground's mean colour|, over the same.

The sheet has a row for each prompt (first seed) and columns asked, lumiere, cascade/8, cascade/16: one line of pixels through the
clip, time to the right, dots above at keyframes. Bouncing: the middle column; circling: a row above the middle; swinging: one below.
The table is printed, and put between the markers of --page where that is named; the sheet goes to --sheet or the work folder. Clips in the
work folder that the same networks made with the same options are kept, so that a run can be broken off and started again.
Python 3.9 without packages.
"""
import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tarfile
import time

from clips import Clip, read_npy, write_png, write_sheet
from evaluate_model import COLOURS, corner_colour
from evaluate_tasks import write_npy
from motion_paths import BOUNCE, CIRCLE, FRAMES, SWING, mean, motion, path_figures, turn_path

STRIDES = {"lumiere": 0, "cascade/8": 8, "cascade/16": 16}
NAMES = ["asked", *STRIDES]
PROMPTS = [  # subject, its key in the stills, motion, background
    ("a soccer ball", "26bd", BOUNCE, "green"), ("a red apple", "1f34e", CIRCLE, "white"), ("a bell", "1f514", SWING, "pink"),
    ("a red heart", "2764", BOUNCE, "light blue"), ("an airplane", "2708", CIRCLE, "blue"), ("a red heart", "2764", SWING, "white"),
    ("a smiling face", "263a", BOUNCE, "purple"), ("a honeybee", "1f41d", CIRCLE, "light blue"), ("a snowman", "2603", SWING, "blue"),
    ("a honeybee", "1f41d", BOUNCE, "white"), ("a star", "2b50", CIRCLE, "black"), ("a carrot", "1f955", SWING, "teal")]
BEGIN, END = "<!-- figures: bench/compare_cascade.py writes from here -->", "<!-- to here -->"


# ---- making clips ----

def prompt_text(prompt):
    return f"{prompt[0]}, {prompt[2]}, on a {prompt[3]} background"


def make_model(a, part):
    """A model folder around one network: the text part and the defaults are those of --model."""
    folder, network = os.path.join(a.work, "models", part), os.path.abspath(os.path.join(a.runs, part))
    with open(os.path.join(a.model, "model.json")) as f:
        model = json.load(f)
    os.makedirs(folder, exist_ok=True)
    links = {"text": os.path.abspath(os.path.join(a.model, model["parts"]["text"])), "base": network}
    for name, target in links.items():
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)
    model.update(name=part, parts={"text": "text", "base": "base"})
    model.pop("styles", None)
    with open(os.path.join(folder, "model.json"), "w") as f:
        json.dump(model, f)
    path = os.path.join(network, "config.json")
    if not os.path.exists(path):
        sys.exit(f"{path} is missing; {a.runs} needs a folder for each network: see --help")
    with open(path) as f:
        return folder, json.load(f)


def check_networks(a):
    """Model folders by part; a network that can't take its place ends the program. a.digest: of what makes the clips."""
    need, digest = {"lumiere": FRAMES}, hashlib.sha256()
    for s in filter(None, STRIDES.values()):
        need.update({f"keys{s}": FRAMES // s, f"between{s}": s + 1})
    models = {}
    for part, frames in need.items():
        models[part], config = make_model(a, part)
        if not config.get("video") or config.get("max_frames", 80) < frames or config.get("cond_channels") != 4:
            sys.exit(f"{a.runs}/{part} is no network for {frames} frames with a condition of 4 channels")
        if part != "lumiere" and any(config.get("temporal_down", [True])):
            sys.exit(f"{a.runs}/{part} has temporal resizing; the cascade's networks have none")
        for file in (os.path.join(models[part], "model.json"), os.path.join(models[part], "base", "model.safetensors"), a.lumiere):
            with open(file, "rb") as f:
                digest.update(f.read())
    a.digest = digest.hexdigest()
    return models


def lumiere(a, model, path, *arguments, frames, seed, number=0):
    command = [a.lumiere, *arguments, "--model", model, "-o", path, "-f", str(frames), "-W", str(a.size), "-H", str(a.size), "--no-upscale",
               "--seed", str(seed), "--clip", str(number), "--steps", str(a.steps), "--progress", "none", "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clip = read_npy(path)
    if (clip.frames, clip.height, clip.width) != (frames, a.size, a.size):
        sys.exit(f"{path} has {clip.frames} frames of {clip.width}x{clip.height}")
    return clip


def frame(clip, t):
    n = clip.height * clip.width * 3
    return clip.data[t * n:(t + 1) * n]


def clip_of(frames, size):
    return Clip(len(frames), size, size, b"".join(frames))


def windows(stride):
    """(first frame, frames, whether the last one is given): windows that share their keyframes and nothing else."""
    return [(t, min(stride + 1, FRAMES - t), t + stride < FRAMES) for t in range(0, FRAMES, stride)]


def make_cascade(a, models, stride, text, seed, path):
    keys = lumiere(a, models[f"keys{stride}"], path + "-keys.npy", "generate", text, frames=FRAMES // stride, seed=seed)
    blank, made, out = bytes([128]) * (a.size * a.size * 3), b"\xff" * (a.size * a.size * 3), []
    for k, (first, count, closed) in enumerate(windows(stride)):
        given = [frame(keys, k)] + [None] * (count - 1)
        if closed:
            given[-1] = frame(keys, k + 1)
        write_npy(path + "-given.npy", clip_of([g or blank for g in given], a.size))
        write_npy(path + "-mask.npy", clip_of([bytes(len(made)) if g else made for g in given], a.size))
        window = lumiere(a, models[f"between{stride}"], path + "-window.npy", "inpaint", path + "-given.npy", text, "--mask", path + "-mask.npy",
                         frames=count, seed=seed, number=k + 1)
        if any(g and g != frame(window, i) for i, g in enumerate(given)):
            sys.exit(f"window {k} of {path} did not keep its keyframes")
        out += [frame(window, i) for i in range(count - closed)]
    return clip_of(out, a.size)


def make_clip(a, models, name, prompt, seed, path):
    """The clip, also written to path.npy, and the seconds it took. Kept from an earlier run where all that it depends on is the same."""
    text, note = prompt_text(prompt), path + "-made.json"
    made = {"prompt": text, "seed": seed, "steps": a.steps, "size": a.size, "networks": a.digest}
    if os.path.exists(note):
        with open(note) as f:
            before = json.load(f)
        seconds = before.pop("seconds")
        if before == made:
            return read_npy(path + ".npy"), seconds
        os.unlink(note)
    started = time.monotonic()
    if name == "asked":
        clip = draw_asked(a, models, prompt)
    elif STRIDES[name]:
        clip = make_cascade(a, models, STRIDES[name], text, seed, path)
    else:
        clip = lumiere(a, models["lumiere"], path + ".npy", "generate", text, frames=FRAMES, seed=seed)
    seconds = time.monotonic() - started
    write_npy(path + ".npy", clip)
    with open(note, "w") as f:
        json.dump({**made, "seconds": seconds}, f)
    return clip, seconds


def network_frames(name):
    """Calls of a network for a clip at one evaluation each, and frames that these see."""
    s = STRIDES[name]
    counts = [FRAMES // s] + [n for _, n, _ in windows(s)] if s else [FRAMES]
    return len(counts), sum(counts)


# ---- what was asked ----

def read_sprite(a, models, key):
    """Square of premultiplied (r, g, b, alpha), from what the command makes of a still over black and over white."""
    with tarfile.open(os.path.join(a.data, "stills-3d.tar")) as tar:
        size = json.load(tar.extractfile(key + "_still.json"))["size"]
        still = os.path.join(a.work, key + ".webp")
        with open(still, "wb") as f:
            f.write(tar.extractfile(key + "_still.webp").read())
    over = []
    for colour in ("black", "white"):
        path = os.path.join(a.work, f"{key}-{colour}.npy")
        subprocess.run([a.lumiere, "edit", still, "-", "--strength", "0", "--background", colour, "-f", "1", "-W", str(size), "-H", str(size),
                        "--model", models["lumiere"], "-o", path, "-q"], check=True, stdout=subprocess.DEVNULL)
        over.append(read_npy(path))
    black, white = over
    pixels = []
    for i in range(0, len(black.data), 3):
        b, w = black.data[i:i + 3], white.data[i:i + 3]
        pixels.append((*b, 255 - (sum(w) - sum(b)) / 3))
    return size, pixels


def draw_asked(a, models, prompt, samples=4):
    """Every pixel is the mean of samples x samples points."""
    size, sprite = read_sprite(a, models, prompt[1])
    back, n, frames = COLOURS[prompt[3]], a.size, []
    steps = [(2 * i + 1) / (n * samples) - 1 for i in range(n * samples)]
    for t in range(FRAMES):
        x0, y0, scale, turn = motion(prompt[2], t)
        c, s = math.cos(math.radians(turn)) / scale, math.sin(math.radians(turn)) / scale
        sums = [[0.0] * 4 for _ in range(n * n)]
        for j, y in enumerate(steps):
            for i, x in enumerate(steps):
                u, v = (x - x0) * c + (y - y0) * s, (y - y0) * c - (x - x0) * s
                if -1 <= u < 1 and -1 <= v < 1:
                    p = sprite[int((v + 1) / 2 * size) * size + int((u + 1) / 2 * size)]
                    if p[3]:
                        q = sums[j // samples * n + i // samples]
                        for k in range(4):
                            q[k] += p[k]
        m = samples * samples
        frames.append(bytes(min(255, round(q[k] / m + (1 - q[3] / m / 255) * back[k])) for q in sums for k in range(3)))
    return clip_of(frames, n)


# ---- measuring ----

def foreground(clip):
    """Area (pixels) and mean colour of each frame's foreground, by the rule of `lumiere measure`; None where there is none."""
    back, out = corner_colour(clip), []
    for t in range(clip.frames):
        f = frame(clip, t)
        found = [f[i:i + 3] for i in range(0, len(f), 3) if any(abs(v - b) > 40 for v, b in zip(f[i:i + 3], back))]
        n = len(found)
        out.append((n, tuple(sum(c[k] for c in found) / n for k in range(3))) if n >= 0.01 * clip.width * clip.height else None)
    return out


def near_keys(values, stride, reach):
    """Means of the values at keyframes and elsewhere. reach 1: the values are steps into frame t; those into and out of a keyframe count."""
    keys = set(range(stride, FRAMES, stride))
    keys |= {t + 1 for t in keys} if reach else set()
    return mean(v for t, v in enumerate(values) if t in keys), mean(v for t, v in enumerate(values) if t not in keys)


def measure(a, path, kind, clip):
    """A clip's figures: name -> a number, or the two of a ratio; None where the clip has none."""
    text = subprocess.run([a.lumiere, "measure", path + ".npy", "--json"], check=True, capture_output=True, text=True).stdout
    m, subject = json.loads(text), foreground(clip)
    centres = list(zip(m["path_x"], m["path_y"]))
    path = [None if x is None else (y,) if kind == BOUNCE else (x, y) for x, y in centres] if kind != SWING else turn_path(clip)
    out, jumpiness, bend = path_figures(kind, path)
    out.update({k: m[k] for k in ("difference", "flicker", "warp_error", "warp_covered", "loop_ratio")})
    out["found"] = mean(float(s is not None) for s in subject)
    out["jumpiness"] = jumpiness
    area = mean(s and s[0] for s in subject)
    pairs = [(None, None)] + list(zip(subject, subject[1:]))
    grown = [abs(q[0] - p[0]) / area if p and q else None for p, q in pairs]
    recoloured = [sum(abs(v - w) for v, w in zip(p[1], q[1])) / 3 if p and q else None for p, q in pairs]
    series = {"step": ([None] + m["differences"], 1), "kink": ([None] + m["flickers"] + [None], 0), "turn": (bend or [], 0),
              "size": (grown, 1), "colour": (recoloured, 1)}
    for name, (values, reach) in series.items():
        for stride in (8, 16):
            out[f"{name}{stride}"] = near_keys(values, stride, reach)
    out["size"], out["colour"] = mean(grown), mean(recoloured)
    return out


# ---- the page and the sheet ----

def estimate(rows, name, motions=None):
    """rows: (prompt number, motion, figures). Value over the clips, and standard error by leaving out a prompt at a time."""
    pairs = []
    for number, kind, figures in rows:
        v = figures[name] if motions is None or kind in motions else None
        v = v if isinstance(v, tuple) else (v, 1)
        if None not in v:
            pairs.append((number, *v))

    def ratio(some):
        below = sum(p[2] for p in some)
        return sum(p[1] for p in some) / below if below > 1e-9 else None
    whole, numbers = ratio(pairs), sorted({p[0] for p in pairs})
    parts = [ratio([p for p in pairs if p[0] != n]) for n in numbers] if len(numbers) > 1 else []
    if whole is None or not parts or None in parts:
        return whole, None
    middle, n = sum(parts) / len(parts), len(parts)
    return whole, math.sqrt((n - 1) / n * sum((p - middle) ** 2 for p in parts))


def show(value, digits, bold=False):
    number, error = value
    if number is None:
        return "-"
    text = f"{number:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")
    return f"**{text}**" if bold else text


def table(results):
    lines = ["| | " + " | ".join(NAMES) + " |", "|---" * (len(NAMES) + 1) + "|"]

    def row(label, name, digits, motions=None, stride=0):
        cells = [show(estimate(results[n], name, motions), digits, bool(stride) and STRIDES.get(n) == stride) for n in NAMES]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    row("difference of neighbours", "difference", 2)
    row("flicker", "flicker", 2)
    row("warping error", "warp_error", 2)
    row("(share of pixels that it covers)", "warp_covered", 2)
    row("loop closure", "loop_ratio", 2)
    row("subject found", "found", 2)
    for kind in (BOUNCE, CIRCLE, SWING):
        row("follows: " + kind, "follows", 2, (kind,))
    for kind in (BOUNCE, CIRCLE, SWING):
        row("extent: " + kind, "extent", 2, (kind,))
    for kind in (BOUNCE, CIRCLE, SWING):
        row("jumpiness: " + kind, "jumpiness", 2, (kind,))
    row("subject's size, change a frame, % of it", "size%", 2)
    row("subject's colour, change a frame, 0 to 255", "colour", 2)
    for stride in (8, 16):
        for name, label in (("step", "step"), ("kink", "kink"), ("turn", "turn of path"), ("size", "subject's size"), ("colour", "subject's colour")):
            row(f"at every {stride}th: {label}", f"{name}{stride}", 2, stride=stride)
    return lines


def cost_table(a, seconds, guided):
    """Network evaluations of a clip. Guidance takes two a step."""
    lines = ["| | calls of a network | evaluations in all | evaluations x frames | seconds a clip, each network loaded for each call |", "|---" * 5 + "|"]
    for name in STRIDES:
        calls, frames = network_frames(name)
        each = a.steps * guided
        taken = sum(seconds[name]) / len(seconds[name])
        lines.append(f"| {name} | {calls} | {calls * each} | {frames * each} | {taken:.1f} |")
    return lines


def draw_sheet(path, slices, scale=3, gap=9):
    """slices: a row a prompt of (stride, Clip of one frame, time down). Turned so that time runs to the right; dots at keyframes."""
    white, rows = b"\xff", []
    for line in slices:
        size = line[0][1].width
        marks, body = [], [[] for _ in range(size)]
        for stride, clip in line:
            dots = b"".join((b"\x30\x30\x30" if stride and t % stride == 0 else white * 3) + white * 3 * (scale - 1) for t in range(FRAMES))
            marks.append(dots)
            for x in range(size):
                body[x].append(b"".join(bytes(clip.pixel(0, t, x)) * scale for t in range(FRAMES)))
        between = white * 3 * gap
        width = len(between.join(marks))
        rows += [white * width] * (gap - 3) + [between.join(marks)] * 2 + [white * width]
        for x in range(size):
            rows += [between.join(body[x])] * scale
    write_png(path, len(rows[0]) // 3, len(rows), rows)


def cut_slice(a, path, kind):
    at = a.size * {BOUNCE: 8, CIRCLE: 6, SWING: 11}[kind] // 16
    way = ["--yt", path + "-slice.npy", "--column", str(at)] if kind == BOUNCE else ["--xt", path + "-slice.npy", "--row", str(at)]
    subprocess.run([a.lumiere, "measure", path + ".npy", "--no-flow", *way], check=True, stdout=subprocess.DEVNULL)
    return read_npy(path + "-slice.npy")


def write_page(path, lines):
    with open(path) as f:
        text = f.read()
    head, rest = text.split(BEGIN, 1)
    with open(path, "w") as f:
        f.write(head + "\n".join([BEGIN, "", *lines, "", END]) + rest.split(END, 1)[1])


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("runs", metavar="RUNS")
    ap.add_argument("--lumiere", default="build/lumiere")
    ap.add_argument("--model", default="models/emoji")
    ap.add_argument("--data", default="data/emoji")
    ap.add_argument("--work", default="out/cascade")
    ap.add_argument("--size", type=int, default=32)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--seeds", type=int, default=2)
    ap.add_argument("--prompts", type=int, default=len(PROMPTS))
    ap.add_argument("--page")
    ap.add_argument("--sheet")
    a = ap.parse_args()
    if a.steps < 1 or a.seeds < 1 or not 1 <= a.prompts <= len(PROMPTS):
        ap.error(f"--steps and --seeds begin at 1, --prompts is 1 to {len(PROMPTS)}")
    if a.page:
        with open(a.page) as f:
            if BEGIN not in (text := f.read()) or END not in text:
                ap.error(f"{a.page} lacks the lines\n{BEGIN}\n{END}")
    a.sheet = a.sheet or os.path.join(a.work, "cascade.png")
    return a


def main():
    a = options()
    os.makedirs(a.work, exist_ok=True)
    models = check_networks(a)
    with open(os.path.join(a.model, "model.json")) as f:
        defaults = json.load(f).get("defaults", {})
    scale = defaults.get("cfg_scale", 4)
    results, seconds, slices = {n: [] for n in NAMES}, {n: [] for n in NAMES}, []
    for i, prompt in enumerate(PROMPTS[:a.prompts]):
        shown = []
        for k in range(a.seeds):
            for name in NAMES:
                if name == "asked" and k:
                    continue
                path = os.path.join(a.work, f"{i:02}-{k}-{name.replace('/', '')}")
                clip, taken = make_clip(a, models, name, prompt, 1000 + 100 * k + i, path)
                figures = measure(a, path, prompt[2], clip)
                figures["size%"] = None if figures["size"] is None else 100 * figures["size"]
                results[name].append((i, prompt[2], figures))
                seconds[name].append(taken)
                if k == 0:
                    shown.append((clip, STRIDES.get(name, 0), cut_slice(a, path, prompt[2])))
                print(f"{prompt_text(prompt)}, {name}: {taken:.1f} s, follows {figures['follows']:+.2f}, extent {figures['extent']:.2f}, "
                      f"difference {figures['difference']:.2f}", file=sys.stderr, flush=True)
        slices.append([(stride, cut) for _, stride, cut in shown])
        write_sheet(os.path.join(a.work, f"{i:02}.png"), [c for c, _, _ in shown], 20, 2)
    draw_sheet(a.sheet, slices)
    lines = [f"{a.prompts} prompts, {a.seeds} clips each; {a.size}x{a.size}, {FRAMES} frames, {a.steps} steps of "
             f"{defaults.get('sampler', 'dpmpp_2m')} in every stage, guidance {scale:g}. Own keyframes in bold.", ""]
    lines += table(results) + ["", *cost_table(a, seconds, 1 if scale in (0, 1) else 2)]
    print("\n".join(lines))
    with open(os.path.join(a.work, "result.json"), "w") as f:
        json.dump({"steps": a.steps, "seconds": seconds, "clips": results}, f, indent=1)
    if a.page:
        write_page(a.page, lines)


if __name__ == "__main__":
    main()
