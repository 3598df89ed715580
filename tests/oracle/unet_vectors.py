"""Test vectors of whole U-Nets, computed by PyTorch in float64: tests/data/unet_cases.txt and unet_samples.bin.

A line of unet_cases.txt: name, clips, frames, height, width, tokens, whether gradients follow, config.json on one line.
Weights: weight(name, shape) below, every layer alive, those born zero too. Inputs x, cond, t, text, noise_level, moment and
the target of the loss are values(name_seed(name)) in the engine's layout [B,T,H,W,C]; t, noise_level and moment moved
to [0,1].
Clip b has min(tokens, 3 + 2 b) real tokens. unet_samples.bin: for each case the record() of each frame of v, then, with
gradients, that of the gradient of mean((v - target)^2) for each parameter in the order of their names.

    python tests/oracle/unet_vectors.py
"""
import json
import math
import os
import time

import numpy as np
import torch

import stunet
from formula import name_seed, record, values

SMALL = dict(channels=(8, 16, 24), attention=(False, True, True), head_dim=8, groups=4, text_width=16, embed_width=24,
             temporal_down=(True, True))
ODD = dict(cond_channels=4, channels=(6, 10, 14), attention=(False, True, True), head_dim=5, groups=2, text_width=13,
           embed_width=19, video=True, temporal_down=(True, False), max_frames=7, res_blocks=1)
SSR = dict(cond_channels=3, patch=4, channels=(64, 96, 160), attention=(False,) * 3, noise_level_cond=True, video=True,
           temporal_down=(False, False), temporal_attention_blocks=1, max_frames=16)
# name, (clips, frames, height, width, tokens), gradients, config
CASES = [
    ("small-image", (2, 1, 24, 16, 7), True, SMALL),
    ("odd-video", (2, 6, 12, 20, 5), True, ODD),
    ("small-video", (1, 4, 8, 8, 9), True, dict(SMALL, video=True, cond_channels=4, max_frames=8)),
    ("small-super-resolution", (2, 5, 16, 32, 4), True, dict(SSR, channels=(8, 12, 16), groups=4, head_dim=8, text_width=16,
                                                             embed_width=24)),
    ("moment-image", (3, 1, 8, 16, 6), True, dict(SMALL, moment_cond=True)),
    ("moment-video", (2, 4, 8, 8, 5), True, dict(SMALL, moment_cond=True, video=True, cond_channels=4, max_frames=8)),
    ("moment-odd-video", (2, 6, 12, 8, 5), True, dict(ODD, moment_cond=True)),
    ("default-image", (1, 1, 64, 64, 32), False, {}),
    ("default-video", (1, 80, 64, 64, 32), False, dict(video=True, cond_channels=4)),
    ("super-resolution", (1, 16, 64, 64, 32), False, SSR),
]


def fourier(t, width):
    """stunet.fourier without its rounding to fp32."""
    freq = torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=t.dtype) / (width // 2))
    angle = 1000 * t[:, None] * freq
    return torch.cat([angle.sin(), angle.cos()], -1)


def weight(name, shape):
    """Variance 1 / fan-in for matrices; 1 +- 0.2 for the scale of a norm, +- 0.1 for every other vector. As fp32."""
    v = values(name_seed(name), shape)
    if len(shape) > 1:
        v = v * math.sqrt(3.0 / (int(np.prod(shape)) // shape[0]))
    else:
        v = 1 + 0.2 * v if name.endswith(".weight") else 0.1 * v
    return v.astype(np.float32)


def tensor(name, *shape):
    return torch.from_numpy(values(name_seed(name), shape))


def unit(name, *shape):
    return (tensor(name, *shape) + 1) / 2


def first(z):       # [B,T,H,W,C] to [B,C,T,H,W]
    return z.permute(0, 4, 1, 2, 3)


def last(z):
    return z.permute(0, 2, 3, 4, 1)


def build(config):
    net = stunet.UNet(stunet.UNetConfig(**config))
    net.load_state_dict({k: torch.from_numpy(weight(k, tuple(v.shape))) for k, v in net.state_dict().items()})
    return net


def inputs(cfg, b, t, h, w, tokens):
    mask = torch.arange(tokens)[None] < 3 + 2 * torch.arange(b)[:, None]
    return (first(tensor("x", b, t, h, w, cfg.in_channels)),
            first(tensor("cond", b, t, h, w, cfg.cond_channels)) if cfg.cond_channels else None,
            unit("t", b), tensor("text", b, tokens, cfg.text_width), mask,
            unit("noise_level", b) if cfg.noise_level_cond else None, unit("moment", b, t) if cfg.moment_cond else None)


def full_config(config):
    """Every field, in the C reader's shape: temporal_down has one entry a gap between levels."""
    cfg = stunet.UNetConfig(**config)
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(cfg).items()}
    fields["temporal_down"] = fields["temporal_down"][:len(cfg.channels) - 1]
    return fields


def main():
    stunet.fourier = fourier
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    lines, blobs = [], []
    for name, shape, gradients, config in CASES:
        start = time.time()
        net = build(config).double()
        args = inputs(net.cfg, *shape)
        with torch.set_grad_enabled(gradients):
            v = last(net(*args))
        out = [record(frame.detach().numpy()) for frame in v.flatten(0, 1)]
        if gradients:
            (v - tensor("target", *v.shape)).square().mean().backward()
            out += [record(p.grad.numpy()) for _, p in sorted(net.named_parameters())]
        blobs += [r.tobytes() for r in out]
        lines.append(" ".join(map(str, (name, *shape, int(gradients), json.dumps(full_config(config))))) + "\n")
        print(f"{name}: {time.time() - start:.1f} s, mean square of v {v.square().mean().item():.3f}", flush=True)
    with open(os.path.join(folder, "unet_cases.txt"), "w") as f:
        f.writelines(lines)
    with open(os.path.join(folder, "unet_samples.bin"), "wb") as f:
        f.writelines(blobs)
    print(sum(map(len, blobs)), "bytes")


if __name__ == "__main__":
    main()
