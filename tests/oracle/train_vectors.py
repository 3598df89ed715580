"""Fifty training steps of two small networks by PyTorch in float64: tests/data/train_steps.bin by AdamW alone, muon_steps.bin
with the matrices by Muon (muon.py).

An image network with everything trained, then a video network with the image layers frozen. Weights as in unet_vectors.py.
Step s draws x.s, t.s, text.s and, for the video network, cond.s as values(name_seed(...)); the target is 0.7 x.
AdamW 1e-3 and Muon 0.02 after a warm-up of 5 steps, betas 0.9 0.99, weight decay 0.01, gradients clipped to a norm of 1, moving average
min(0.9995, (1 + n) / (10 + n)); Muon: momentum 0.95, weight decay 0.01. For each network: 50 losses, 50 gradient norms, then for each trained parameter in the
order of names the record() of its final value and of its average.

    python tests/oracle/train_vectors.py
"""
import copy
import functools
import os

import numpy as np
import torch

import muon
import stunet
from formula import record
from unet_vectors import SMALL, build, first, fourier, tensor, unit

STEPS, WARMUP, RATE, MUON_RATE, TOKENS = 50, 5, 1e-3, 0.02, 32
# config, clips, frames, size, whether the image layers are frozen
RUNS = [(SMALL, 4, 1, 16, False), (dict(SMALL, video=True, cond_channels=4, max_frames=8), 1, 8, 16, True)]


def is_muons(name, p):
    """A matrix of 3x3 convolutions, of attention, or of time, noise level and pooled text."""
    other = name.startswith(("conv_in", "cond_in", "conv_out")) or "position" in name or "temporal.conv.out" in name
    return muon.is_matrix(p) and not other


def train(config, clips, frames, size, frozen, with_muon):
    net = build(config).double()
    for name, p in net.named_parameters():
        p.requires_grad_(not frozen or "temporal" in name or name.startswith("cond_in"))
    average = copy.deepcopy(net)
    trained = [p for p in net.parameters() if p.requires_grad]
    matrices = [p for n, p in net.named_parameters() if with_muon and p.requires_grad and is_muons(n, p)]
    rest = [p for p in trained if not any(p is m for m in matrices)]
    opt, opt2 = torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.99), weight_decay=0.01), muon.Muon(matrices)
    mask = torch.arange(TOKENS)[None] < 3 + 2 * torch.arange(clips)[:, None]
    losses, norms = [], []
    for step in range(STEPS):
        x = first(tensor(f"x.{step}", clips, frames, size, size, 3))
        cond = first(tensor(f"cond.{step}", clips, frames, size, size, 4)) if net.cfg.cond_channels else None
        v = net(x, cond, unit(f"t.{step}", clips), tensor(f"text.{step}", clips, TOKENS, net.cfg.text_width), mask)
        loss = (v - 0.7 * x).square().mean()
        schedule = min(1.0, (step + 1) / WARMUP)
        for group in opt.param_groups:
            group["lr"] = RATE * schedule
        net.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1.0).item())
        opt.step()
        opt2.step(MUON_RATE * schedule)
        decay = min(0.9995, (2 + step) / (11 + step))
        with torch.no_grad():
            for p, q in zip(average.parameters(), net.parameters()):
                if q.requires_grad:
                    p.lerp_(q, 1 - decay)
        losses.append(loss.item())
    print("loss", losses[0], "to", losses[-1], "gradient norm", max(norms), "to", min(norms),
          sum(n > 1 for n in norms), "steps clipped,", len(matrices), "of", len(trained), "parameters by Muon")
    out = [np.array(losses, "<f4"), np.array(norms, "<f4")]
    mean = dict(average.named_parameters())
    for name, p in sorted(net.named_parameters()):
        if p.requires_grad:
            out += [record(p.detach().numpy()), record(mean[name].detach().numpy())]
    return b"".join(r.tobytes() for r in out)


def main():
    stunet.fourier = fourier
    muon.orthogonal = functools.partial(muon.orthogonal, dtype=torch.float64)
    for name, with_muon in ("train_steps.bin", False), ("muon_steps.bin", True):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", name)
        with open(path, "wb") as f:
            f.write(b"".join(train(*run, with_muon) for run in RUNS))
        print(os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
