"""Which of the training data's twelve motions a clip shows, whatever the sprite and its size. Needs numpy and PyTorch.

Every second frame's foreground has a centre, a size and a look. A motion's error is the sum of three: what of the centre's way is left when the motion's path, in the
best of the allowed extents, is taken away; likewise of the size's rate of growth; how badly a frame that is turned as the motion says fits those
that follow. The motion with the smallest error is the clip's."""
import math

import numpy as np
import torch
import torch.nn.functional as F

from renderings import FRAMES, PATHS, SIZES
from subject_judge import border_colour, foreground

EXTENT = 0.5, 1.3                         # of the path and of the growth that is taken away
SIZE_WEIGHT, TURN_WEIGHT = 0.1, 0.1       # beside squares of half frames
STEP, LAGS, CROP = 2, (1, 2), 24          # frames looked at; how many of these lie between those compared; pixels
ANGLES = np.arange(-60, 61, 4) / 360      # in turns
FLAT = 4 / 255                            # a sprite that looks so much the same at all angles tells nothing


def crop(frame, back, at, radius):
    """The frame less its background about a point, (3,CROP,CROP); all in half frames."""
    theta = torch.tensor([[[radius, 0, at[0]], [0, radius, at[1]]]], dtype=torch.float32)
    x = torch.from_numpy((frame - back).astype(np.float32) / 255).permute(2, 0, 1)[None]
    return F.grid_sample(x, F.affine_grid(theta, (1, 3, CROP, CROP), align_corners=False), padding_mode="zeros", align_corners=False)[0]


def turned(x):
    """(3,CROP,CROP) -> (angles,3,CROP,CROP), clockwise."""
    c, s = np.cos(2 * np.pi * ANGLES), np.sin(2 * np.pi * ANGLES)
    theta = torch.from_numpy(np.stack([np.stack([c, s, 0 * c], -1), np.stack([-s, c, 0 * c], -1)], 1).astype(np.float32))
    return F.grid_sample(x.expand(len(c), -1, -1, -1), F.affine_grid(theta, (len(c), 3, CROP, CROP), align_corners=False), padding_mode="zeros", align_corners=False)


def part_of(got, asked):
    """What is nearest to what was got among the allowed extents of what was asked."""
    asked, power = np.asarray(asked), np.square(asked).sum()
    return asked * np.clip((np.asarray(got) * asked).sum() / power, *EXTENT) if power > 1e-9 else asked


def centre_error(track, path):
    track, path = track - track.mean(0), path - path.mean(0)
    return np.square(track - part_of(track, path)).sum(1).mean()


def turn_costs(looks):
    """looks: moment -> crop. -> [(moment, later moment, cost by angle, 0 at the best and about 1 at a usual one)]."""
    y, x = np.mgrid[:CROP, :CROP] - (CROP - 1) / 2
    inside, found = torch.from_numpy(np.hypot(x, y) <= CROP / 2).float(), []
    for t, look in looks.items():
        copies = turned(look)
        for lag in LAGS:
            later = looks.get(t + lag * STEP)
            if later is not None:
                cost = ((copies - later).abs() * inside).mean((1, 2, 3)).numpy() * CROP ** 2 / float(inside.sum())
                found.append((t, t + lag * STEP, (cost - cost.min()) / max(cost.mean() - cost.min(), FLAT)))
    return found


def motion_errors(clip, sizes=SIZES):
    """uint8 (frames,h,w,3) -> error by motion; None where fewer than half of the frames show anything."""
    back, seen, looks = border_colour(clip), [], {}
    h, w = clip.shape[1:3]
    for t in range(0, len(clip), STEP):
        mask = foreground(clip[t], back)
        if mask is not None:
            ys, xs = np.nonzero(mask)
            at = (xs.mean() * 2 + 1) / w - 1, (ys.mean() * 2 + 1) / h - 1
            size = math.sqrt(len(xs) / (h * w))
            seen.append((t / (FRAMES - 1), *at, math.log(size)))
            looks[t] = crop(clip[t], back, at, 1.3 * size)
    if 2 * len(seen) * STEP < len(clip):
        return None
    p, track, growth = np.array(seen)[:, 0], np.array(seen)[:, 1:3], np.polyfit(np.array(seen)[:, 0], np.array(seen)[:, 3], 1)[0]
    turns, errors = turn_costs(looks), {}
    for m, path in PATHS.items():
        asked = np.array([path(q) for q in p])
        first, last = sizes[m]
        turn = lambda t: path(t / (FRAMES - 1))[2]
        costs = [min(np.interp(turn(b) - turn(a), ANGLES, cost), 2) for a, b, cost in turns]
        errors[m] = float(centre_error(track, asked[:, :2]) + SIZE_WEIGHT * (growth - part_of(growth, math.log(last / first))) ** 2 + TURN_WEIGHT * float(np.mean(costs or [0])))
    return errors


def motion_of(clip, sizes=SIZES):
    errors = motion_errors(clip, sizes)
    return min(errors, key=errors.get) if errors else None
