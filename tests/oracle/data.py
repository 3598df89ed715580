"""Executable specification of the training data: shards in, (video, caption) batches out.

Shards are WebDataset tar files.  KEY.webm holds premultiplied RGB stacked over alpha (S x 2S, 16 fps, one loop);
KEY.webp holds one or more RGBA stills side by side, one per drawing style; KEY.json has the captions.
One subject in twenty (by a hash of its name, skin tones included) is left out of training, for validation.
Needs numpy, torch, cv2, and Pillow for WebP.
"""
import glob
import io
import json
import math
import os
import random
import re
import tarfile
import tempfile
import zlib

import numpy as np
import torch
import torch.nn.functional as F

COLORS = {      # sRGB
    "white": (255, 255, 255), "black": (20, 20, 20), "gray": (128, 128, 128), "red": (220, 50, 50), "orange": (245, 150, 50),
    "yellow": (250, 220, 80), "green": (70, 170, 80), "blue": (60, 110, 220), "light blue": (150, 205, 250),
    "purple": (140, 80, 190), "pink": (250, 160, 195), "brown": (130, 85, 55), "teal": (40, 150, 150),
}


def _path(fn):
    """fn(p) -> (x, y, scale, turns); p in [0,1] runs over the clip, x right, y down, both in half-frames."""
    return fn


MOTIONS = {     # what a still or looping sprite does over the whole clip; the key is the caption's phrase
    "": _path(lambda p: (0 * p, 0 * p, 1 + 0 * p, 0 * p)),
    "moving from left to right": _path(lambda p: (-0.85 + 1.7 * p, 0 * p, 0.7 + 0 * p, 0 * p)),
    "moving from right to left": _path(lambda p: (0.85 - 1.7 * p, 0 * p, 0.7 + 0 * p, 0 * p)),
    "rising from bottom to top": _path(lambda p: (0 * p, 0.85 - 1.7 * p, 0.7 + 0 * p, 0 * p)),
    "falling from top to bottom": _path(lambda p: (0 * p, -0.85 + 1.7 * p, 0.7 + 0 * p, 0 * p)),
    "bouncing up and down": _path(lambda p: (0 * p, 0.4 - 0.8 * (4 * math.pi * p).sin().abs(), 0.7 + 0 * p, 0 * p)),
    "spinning clockwise": _path(lambda p: (0 * p, 0 * p, 0.8 + 0 * p, 2 * p)),
    "spinning counterclockwise": _path(lambda p: (0 * p, 0 * p, 0.8 + 0 * p, -2 * p)),
    "growing bigger": _path(lambda p: (0 * p, 0 * p, 0.4 + 0.6 * p, 0 * p)),
    "getting smaller": _path(lambda p: (0 * p, 0 * p, 1.0 - 0.6 * p, 0 * p)),
    "swinging from side to side": _path(lambda p: (0 * p, 0 * p, 0.7 + 0 * p, 0.12 * (6 * math.pi * p).sin())),
    "moving in a circle": _path(lambda p: (0.45 * (4 * math.pi * p).sin(), -0.45 * (4 * math.pi * p).cos(), 0.7 + 0 * p, 0 * p)),
    "zigzagging across": _path(lambda p: (-0.85 + 1.7 * p, 0.4 * (6 * math.pi * p).sin(), 0.7 + 0 * p, 0 * p)),
}


def is_validation(subject):
    """True for one subject in twenty. `subject` is the record's field: code points in hex, joined by '-'."""
    return zlib.crc32(subject.encode()) % 20 == 0


def read_shards(pattern, styles=("3d",)):
    """-> list of dicts: frames uint8 (T,4,S,S) premultiplied RGBA, and the record's json fields."""
    out = []
    for shard in sorted(glob.glob(pattern)):
        parts = {}
        with tarfile.open(shard) as tar:
            for m in tar:
                key, ext = m.name.split(".", 1)
                parts.setdefault(key, {})[ext] = tar.extractfile(m).read()
        for key, p in parts.items():
            rec = json.loads(p["json"])
            if "webm" in p:
                import cv2
                with tempfile.NamedTemporaryFile(suffix=".webm") as f:
                    f.write(p["webm"])
                    f.flush()
                    cap, frames = cv2.VideoCapture(f.name), []
                    while True:
                        ok, img = cap.read()
                        if not ok:
                            break
                        frames.append(img[:, :, ::-1])
                v = np.stack(frames)
                s = v.shape[2]
                rgba = np.concatenate([v[:, :s], v[:, s:, :, :1]], axis=-1).transpose(0, 3, 1, 2)
                out.append({**rec, "frames_data": np.ascontiguousarray(rgba)})
            else:
                from PIL import Image
                im = np.asarray(Image.open(io.BytesIO(p["webp"])).convert("RGBA")).astype(np.float32)
                s = rec["size"]
                for i, style in enumerate(rec["styles"]):
                    if style in styles:
                        x = im[:, i * s:(i + 1) * s].copy()
                        x[..., :3] *= x[..., 3:] / 255
                        out.append({**rec, "style": style, "frames_data": (x + 0.5).astype(np.uint8).transpose(2, 0, 1)[None]})
    return out


class Clips:
    """Keeps every sprite on `device` and draws batches of videos and captions from them."""

    def __init__(self, records, device, size):
        self.records, self.device, self.size = records, device, size
        self.start = np.cumsum([0] + [len(r["frames_data"]) for r in records])
        self.bank = torch.from_numpy(np.concatenate([r["frames_data"] for r in records])).to(device)
        self.half, self.quarter = (self._reduced(f) for f in (2, 4))      # so that small sprites don't alias
        self.animated = [i for i, r in enumerate(records) if len(r["frames_data"]) > 1]

    def _reduced(self, factor):
        return torch.cat([F.avg_pool2d(z.float(), factor).round().byte() for z in self.bank.split(1024)])

    def _sample(self, idx, theta, scale):
        """Sprites idx (N,) under affine maps theta (N,2,3), each from the copy nearest to its size. -> (N,4,S,S) in [0,1]"""
        out = torch.empty(len(idx), 4, self.size, self.size, device=self.device)
        for bank, low, high in ((self.bank, 0.7, 9.0), (self.half, 0.35, 0.7), (self.quarter, 0.0, 0.35)):
            pick = ((scale >= low) & (scale < high)).nonzero()[:, 0].to(self.device)
            if len(pick):
                grid = F.affine_grid(theta[pick], (len(pick), 4, self.size, self.size), align_corners=False)
                out[pick] = F.grid_sample(bank[idx[pick]].float() / 255, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return out

    def caption(self, r, motion, color, rng):
        words = [rng.choice([r["caption"]] + r["paraphrases"])]
        if motion == "" and len(r["frames_data"]) > 1 and r.get("motion") and rng.random() < 0.5 and r["motion"] not in words[0]:
            words.append(r["motion"])
        if motion:
            words.append(motion)
        if color != "white" or rng.random() < 0.3:
            words.append(f"on a {color} background")
        return ", ".join(words)

    def batch(self, n, frames, rng, motion_share=0.5, color_share=0.5):
        """-> (n,3,frames,S,S) float in [-1,1] on the device, list of n captions."""
        dev, s = self.device, self.size
        idx, theta, scale, color, captions = [], [], [], [], []
        p = torch.linspace(0, 1, 80)
        for _ in range(n):
            i = rng.choice(self.animated) if frames > 1 and rng.random() < 0.7 else rng.randrange(len(self.records))
            r, count = self.records[i], len(self.records[i]["frames_data"])
            motion = rng.choice(list(MOTIONS)[1:]) if (rng.random() < motion_share or (count == 1 and frames > 1)) else ""
            name = rng.choice(list(COLORS)[1:]) if rng.random() < color_share else "white"
            captions.append(self.caption(r, motion if frames > 1 else "", name, rng))
            first = rng.randrange(80 - frames + 1) if frames < 80 else 0
            t = torch.arange(first, first + frames)
            idx.append(self.start[i] + (rng.randrange(count) + t) % count if not motion else self.start[i] + t % count)
            x, y, k, turn = (z[t] for z in MOTIONS[motion](p))
            a = 2 * math.pi * turn      # output pixel -> sprite pixel
            theta.append(torch.stack([torch.stack([a.cos() / k, a.sin() / k, -(a.cos() * x + a.sin() * y) / k], -1),
                                      torch.stack([-a.sin() / k, a.cos() / k, (a.sin() * x - a.cos() * y) / k], -1)], 1))
            scale.append(k + 0 * t)
            color.append(COLORS[name])
        sprite = self._sample(torch.cat([torch.as_tensor(z) for z in idx]).to(dev), torch.cat(theta).float().to(dev), torch.cat(scale))
        back = torch.tensor(color, dtype=torch.float32, device=dev).repeat_interleave(frames, 0)[:, :, None, None] / 255
        img = sprite[:, :3] + (1 - sprite[:, 3:]) * back
        return (img * 2 - 1).clamp(-1, 1).reshape(n, frames, 3, s, s).transpose(1, 2), captions


class WordText:
    """Stand-in text encoder for machines without the MiniLM weights: fixed random word vectors. Same shapes."""
    def __init__(self, width=384, length=32):
        self.width, self.length, self.cache = width, length, {}

    def __call__(self, captions, device):
        x = torch.zeros(len(captions), self.length, self.width)
        m = torch.zeros(len(captions), self.length, dtype=torch.bool)
        for i, c in enumerate(captions):
            for j, w in enumerate(re.findall(r"[a-z0-9]+", c.lower())[:self.length]):
                if w not in self.cache:
                    g = torch.Generator().manual_seed(int.from_bytes(w.encode()[:7], "little") % (2 ** 31))
                    self.cache[w] = torch.randn(self.width, generator=g)
                x[i, j] = self.cache[w] + 0.5 * torch.sin(torch.arange(self.width) * (j + 1) * 0.1)
                m[i, j] = True
            m[i, 0] = True
        return x.to(device), m.to(device)
