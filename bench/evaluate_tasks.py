#!/usr/bin/env python3
"""Do the tasks keep what they are given, and does an edit's strength do what it says? From fixed seeds, on validation clips.

    bench/evaluate_tasks.py [--lumiere build/lumiere] [--model models/emoji] [--data data/emoji] [--work out/tasks]
                            [--rows given,prompts,edit,sheets] [--keys 1f430,1f6a2,1f405,1f6e9] [--real FILE,...] [--docs] [--size N] [--frames N] [--steps N]

given    animate, inpaint, outpaint and cinemagraph: PSNR over the part that was given, of what the network itself made of it
         (--no-composite), and of the same seed and prompt with an empty condition (generate). Asked: 10 dB more, each task's mean.
prompts  inpaint with two prompts and one seed: mean difference inside the mask, in units of 0 to 255; 0 outside it.
edit     root mean square distance to the input for strengths 0.05, 0.3, 0.6 and 0.9. Asked: rising, in the mean of the inputs.
sheets   each task with its defaults on every input and on three real clips, or the files that --real names: a row of frames of
         the input, then one of what came out. Into the work folder as ten frames a row; with --docs into docs/tasks-TASK.png, as
         many frames a row, at most ten, as fit in 400 KB.

Inputs are clips that training leaves out, on a light blue background, looped to the run's length. Python 3.9 without packages.
"""
import json
import math
import os
import subprocess
import sys
import tarfile

from arguments import evaluate, evaluation_parser, parse
from clips import Clip, read_npy, write_sheet

BACKGROUND = (150, 205, 250)
OTHER = "a red heart, on a light blue background"
REAL = ("data/real/box_256.webm", "data/real/cup_256.webm", "data/real/tree_256.webm")
SHEET_BYTES, SHEET_COLUMNS = 400_000, (10, 8, 6, 5, 4, 3)
STRENGTHS = (0.05, 0.3, 0.6, 0.9)
TASKS = ("animate", "inpaint", "outpaint", "cinemagraph")


def write_npy(path, c):
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({c.frames}, {c.height}, {c.width}, 3), }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(c.data))


def lumiere(a, name, *arguments):
    path = os.path.join(a.work, name + ".npy")
    command = [a.lumiere, *arguments, "--model", a.model, "-o", path, "--progress", "none", "-q", "-W", str(a.size), "-H", str(a.size)]
    if arguments[0] == "generate":
        command += ["--no-upscale", "--refine", "0"]  # one pass, as the tasks
    if a.steps:
        command += ["--steps", str(a.steps)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_npy(path)


def find_record(a, key):
    """The .webm and the caption of a subject's clip."""
    for name in sorted(os.listdir(a.data)):
        if not name.startswith("train-anim"):
            continue
        with tarfile.open(os.path.join(a.data, name)) as tar:
            names = tar.getnames()
            if key + "_anim.webm" in names:
                video, words = tar.extractfile(key + "_anim.webm").read(), json.load(tar.extractfile(key + "_anim.json"))
                return video, words["caption"], words["frames"]
    sys.exit(f"{a.data} holds no clip of {key}")


def make_input(a, key):
    """A clip of the run's size and length: (path, frames, caption)."""
    video, caption, frames = find_record(a, key)
    raw = os.path.join(a.work, key + ".webm")
    with open(raw, "wb") as f:
        f.write(video)
    both = os.path.join(a.work, key + "-both.npy")  # colour above alpha, stretched to two squares
    subprocess.run([a.lumiere, "edit", raw, "-", "--strength", "0", "--fit", "stretch", "-W", str(a.size), "-H", str(2 * a.size), "-f", str(min(frames, 80)),
                    "--model", a.model, "-o", both, "-q"], check=True)
    both, size = read_npy(both), a.size
    data = bytearray()
    for t in range(a.frames):
        f = t % both.frames
        for y in range(size):
            colour, alpha = both.row(f, y), both.row(f, y + size)
            data += bytes(min(255, v + (255 - alpha[i]) * BACKGROUND[i % 3] // 255) for i, v in enumerate(colour))
    clip, path = Clip(a.frames, size, size, bytes(data)), os.path.join(a.work, key + ".npy")
    write_npy(path, clip)
    return path, clip, caption + ", on a light blue background"


def middle(c):
    """The box of half the width and height: left, top, right, bottom."""
    return c.width // 4, c.height // 4, c.width // 4 + c.width // 2, c.height // 4 + c.height // 2


def inside(box, x, y):
    return box[0] <= x < box[2] and box[1] <= y < box[3]


def cut(c, box):
    rows = [c.row(t, y)[3 * box[0]:3 * box[2]] for t in range(c.frames) for y in range(box[1], box[3])]
    return Clip(c.frames, box[3] - box[1], box[2] - box[0], b"".join(rows))


def hold(c):
    size = c.width * c.height * 3
    return Clip(c.frames, c.height, c.width, c.data[:size] * c.frames)


def distance(p, q, where):
    """Mean square and mean absolute difference over the pixels where(t, x, y)."""
    square = absolute = n = 0
    for t in range(p.frames):
        for y in range(p.height):
            a, b = p.row(t, y), q.row(t, y)
            for x in range(p.width):
                if where(t, x, y):
                    for d in (a[3 * x] - b[3 * x], a[3 * x + 1] - b[3 * x + 1], a[3 * x + 2] - b[3 * x + 2]):
                        square += d * d
                        absolute += abs(d)
                    n += 3
    return square / n, absolute / n


def psnr(p, q, where):
    return 10 * math.log10(255 * 255 / max(distance(p, q, where)[0], 1e-3))


def task_arguments(a, task, path, clip):
    """What the command takes beside the prompt."""
    box = middle(clip)
    text = f"{box[0]},{box[1]},{box[2] - box[0]},{box[3] - box[1]}"
    if task == "outpaint":
        inner = path[:-4] + "-inner.npy"
        write_npy(inner, cut(clip, box))
        return [inner, "--pad", f"{box[0]},{box[1]},{clip.width - box[2]},{clip.height - box[3]}"]
    return [path] + (["--box", text] if task != "animate" else [])


def given_part(task, clip):
    """The truth, and where it was given."""
    box = middle(clip)
    if task == "animate":
        return clip, lambda t, x, y: t == 0
    if task == "inpaint":
        return clip, lambda t, x, y: not inside(box, x, y)
    if task == "outpaint":
        return clip, lambda t, x, y: inside(box, x, y)
    return hold(clip), lambda t, x, y: t == 0 or not inside(box, x, y)


def given(a, inputs):
    result, ok = {}, True
    for task in TASKS:
        pairs = []
        for i, (path, clip, caption) in enumerate(inputs):
            fixed = ["-f", str(a.frames), "-s", str(500 + i)]
            truth, where = given_part(task, clip)
            made = lumiere(a, f"{task}-{i}", task, *task_arguments(a, task, path, clip), "-p", caption, "--no-composite", *fixed)
            empty = lumiere(a, f"{task}-{i}-empty", "generate", caption, *fixed)
            pairs.append((psnr(made, truth, where), psnr(empty, truth, where)))
            print(f"  {task:11} input {i}: {pairs[-1][0]:5.1f} dB given, {pairs[-1][1]:5.1f} dB empty", flush=True)
        gain = sum(p - q for p, q in pairs) / len(pairs)
        ok &= gain >= 10
        result[task] = {"psnr": pairs, "gain": gain}
        print(f"given: {task}: {gain:+.1f} dB (asked: +10)", flush=True)
    return result, ok


def prompts(a, inputs):
    means = []
    for i, (path, clip, caption) in enumerate(inputs):
        both = [lumiere(a, f"prompt-{i}-{k}", "inpaint", *task_arguments(a, "inpaint", path, clip), "-p", p, "-f", str(a.frames), "-s", str(600 + i))
                for k, p in enumerate((caption, OTHER))]
        box = middle(clip)
        outside = distance(*both, lambda t, x, y: not inside(box, x, y))[1]
        means.append(distance(*both, lambda t, x, y: inside(box, x, y))[1])
        print(f"prompts: input {i}: {means[-1]:.1f} inside the mask, {outside:.1f} outside", flush=True)
        if outside:
            return means, False
    return means, min(means) > 0


def edit(a, inputs):
    table = []
    for i, (path, clip, _) in enumerate(inputs):
        row = []
        for s in STRENGTHS:
            made = lumiere(a, f"edit-{i}-{s}", "edit", path, "-p", OTHER, "--strength", str(s), "-f", str(a.frames), "-s", str(700 + i))
            row.append(math.sqrt(distance(made, clip, lambda t, x, y: True)[0]))
        table.append(row)
        print(f"edit: input {i}: " + ", ".join(f"{s}: {d:.1f}" for s, d in zip(STRENGTHS, row)), flush=True)
    mean = [sum(r[k] for r in table) / len(table) for k in range(len(STRENGTHS))]
    print("edit: mean: " + ", ".join(f"{s}: {d:.1f}" for s, d in zip(STRENGTHS, mean)), flush=True)
    return {"rows": table, "mean": mean}, mean == sorted(set(mean))


def write_task_sheet(a, task, rows):
    """-> the file. Fewer frames a row where it goes into the repository and would be too large."""
    if not a.docs:
        path = os.path.join(a.work, task + ".png")
        write_sheet(path, rows)
        return path
    path = f"docs/tasks-{task}.png"
    for columns in SHEET_COLUMNS:
        write_sheet(path, rows, columns)
        if os.path.getsize(path) <= SHEET_BYTES:
            break
    return path


def sheets(a, inputs):
    real = []
    for i, path in enumerate(f for f in a.real.split(",") if f):
        clip = lumiere(a, f"real-{i}", "edit", path, "-", "--strength", "0", "-f", str(a.frames))
        fitted = os.path.join(a.work, f"real-{i}.npy")
        real.append((fitted, clip, OTHER))
    files = []
    for task in TASKS + ("edit",):
        rows = []
        for i, (path, clip, caption) in enumerate(inputs + real):
            extra = [path, "--strength", "0.6"] if task == "edit" else task_arguments(a, task, path, clip)
            prompt = OTHER if task == "edit" else caption
            rows += [clip, lumiere(a, f"sheet-{task}-{i}", task, *extra, "-p", prompt, "-f", str(a.frames), "-s", str(800 + i))]
        files.append(write_task_sheet(a, task, rows))
        print(f"sheets: {files[-1]}, {os.path.getsize(files[-1])} bytes", flush=True)
    return files, not a.docs or max(map(os.path.getsize, files)) <= SHEET_BYTES


ROWS = {"given": given, "prompts": prompts, "edit": edit, "sheets": sheets}


def main():
    ap = evaluation_parser(__doc__, ROWS, "out/tasks")
    ap.add_argument("--data", default="data/emoji")
    ap.add_argument("--keys", default="1f430,1f6a2,1f405,1f6e9")
    ap.add_argument("--real", default=",".join(f for f in REAL if os.path.exists(f)))
    ap.add_argument("--docs", action="store_true")
    ap.add_argument("--size", type=int, default=0)
    ap.add_argument("--frames", type=int, default=80)
    ap.add_argument("--steps", type=int, default=0)
    a = parse(ap, ROWS)
    if not a.size:
        with open(os.path.join(a.model, "model.json")) as f:
            a.size = int(json.load(f).get("defaults", {}).get("width", 64))
    evaluate(a, ROWS, [make_input(a, k) for k in a.keys.split(",")])


if __name__ == "__main__":
    main()
