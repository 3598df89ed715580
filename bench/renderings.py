"""The training data's pictures as src/train/augment.c draws them: sprites of data/emoji on the twelve paths. Needs numpy, Pillow and PyTorch."""
import io
import json
import math
import os
import tarfile
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

FRAMES = 80
COLOURS = {"white": (255, 255, 255), "black": (20, 20, 20), "gray": (128, 128, 128), "red": (220, 50, 50), "orange": (245, 150, 50),
           "yellow": (250, 220, 80), "green": (70, 170, 80), "blue": (60, 110, 220), "light blue": (150, 205, 250),
           "purple": (140, 80, 190), "pink": (250, 160, 195), "brown": (130, 85, 55), "teal": (40, 150, 150)}
sin, cos, TURN = math.sin, math.cos, 2 * math.pi
# Centre in half frames, x right and y down, and turn in whole turns clockwise, at p in [0,1] of the clip.
PATHS = {
    "moving from left to right": lambda p: (-0.85 + 1.7 * p, 0, 0),
    "moving from right to left": lambda p: (0.85 - 1.7 * p, 0, 0),
    "rising from bottom to top": lambda p: (0, 0.85 - 1.7 * p, 0),
    "falling from top to bottom": lambda p: (0, -0.85 + 1.7 * p, 0),
    "bouncing up and down": lambda p: (0, 0.4 - 0.8 * abs(sin(2 * TURN * p)), 0),
    "spinning clockwise": lambda p: (0, 0, 2 * p),
    "spinning counterclockwise": lambda p: (0, 0, -2 * p),
    "growing bigger": lambda p: (0, 0, 0),
    "getting smaller": lambda p: (0, 0, 0),
    "swinging from side to side": lambda p: (0, 0, 0.12 * sin(3 * TURN * p)),
    "moving in a circle": lambda p: (0.45 * sin(2 * TURN * p), -0.45 * cos(2 * TURN * p), 0),
    "zigzagging across": lambda p: (-0.85 + 1.7 * p, 0.4 * sin(3 * TURN * p), 0),
}
# Sprite by frame at the first and at the last moment. SIZES_04 are those that version 0.4 was trained with.
SIZES = {**dict.fromkeys(PATHS, (0.7, 0.7)), "spinning clockwise": (0.8, 0.8), "spinning counterclockwise": (0.8, 0.8),
         "growing bigger": (0.4, 1.0), "getting smaller": (1.0, 0.4)}
SIZES_04 = {**dict.fromkeys(PATHS, (0.5, 0.5)), "spinning clockwise": (0.65, 0.65), "spinning counterclockwise": (0.65, 0.65), "growing bigger": (0.25, 1.0),
            "getting smaller": (1.0, 0.25), "swinging from side to side": (0.7, 0.7), "moving in a circle": (0.45, 0.45), "zigzagging across": (0.45, 0.45)}


def pose(motion, p, sizes=SIZES):
    """-> x, y, scale, turn; motion None: centred and of full size."""
    if motion is None:
        return 0, 0, 1, 0
    x, y, turn = PATHS[motion](p)
    first, last = sizes[motion]
    return x, y, first + (last - first) * p, turn


def is_left_out(subject):
    return zlib.crc32(subject.encode()) % 20 == 0


def read_stills(folder):
    """-> records by subject, each with "sprite": uint8 (64,64,4), premultiplied."""
    parts = {}
    with tarfile.open(os.path.join(folder, "stills-3d.tar")) as tar:
        for m in tar:
            key, ending = m.name.split(".", 1)
            parts.setdefault(key, {})[ending] = tar.extractfile(m).read()
    found = {}
    for p in parts.values():
        record = json.loads(p["json"])
        rgba = np.array(Image.open(io.BytesIO(p["webp"])).convert("RGBA"), np.float32)
        rgba[..., :3] *= rgba[..., 3:] / 255
        found[record["subject"]] = {**record, "sprite": (rgba + 0.5).astype(np.uint8)}
    return dict(sorted(found.items()))


def render(sprite, poses, colour, size):
    """sprite: (64,64,4) -> uint8 (len(poses),size,size,3). Small sprites are sampled from a copy of half or a quarter of the size."""
    whole = torch.from_numpy(sprite).permute(2, 0, 1)[None].float()
    back = torch.tensor(colour, dtype=torch.float32).reshape(1, 3, 1, 1) / 255
    out = []
    for x, y, k, turn in poses:
        copy = whole if k >= 0.7 else F.avg_pool2d(whole, 2 if k >= 0.35 else 4).round()
        c, s = math.cos(TURN * turn) / k, math.sin(TURN * turn) / k
        theta = torch.tensor([[[c, s, -(c * x + s * y)], [-s, c, s * x - c * y]]], dtype=torch.float32)
        at = F.grid_sample(copy / 255, F.affine_grid(theta, (1, 4, *whole.shape[2:]), align_corners=False), padding_mode="zeros", align_corners=False)
        out.append(F.avg_pool2d(at[:, :3] + (1 - at[:, 3:]) * back, whole.shape[2] // size))
    return (torch.cat(out).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def render_clip(sprite, motion, colour, size, sizes=SIZES, frames=FRAMES):
    return render(sprite, [pose(motion, t / (FRAMES - 1), sizes) for t in range(frames)], colour, size)
