#!/usr/bin/env python3
"""Are train_gpu.py's networks those of the specification? Outputs and gradients in fp32 on a CPU, kernels interpreted.

    python3 models/emoji/training/check_train_gpu.py            needs torch and Triton; no GPU
"""
import os
import sys
from dataclasses import replace

os.environ["TRITON_INTERPRET"] = "1"
import torch  # noqa: E402
import train_gpu  # noqa: E402
from stunet import UNet, UNetConfig, inflate  # noqa: E402


def errors(net, clips, frames, size, cond):
    for p in net.parameters():      # nothing is left at zero
        p.data.add_(0.03 * torch.randn_like(p))
    x, w = torch.randn(2, clips, 3, frames, size, size)
    c = torch.randn(clips, cond, frames, size, size) if cond else None
    t, text = torch.rand(clips), torch.randn(clips, 32, 384)
    mask = torch.arange(32)[None] < torch.arange(5, 5 + 3 * clips, 3)[:, None]
    level = torch.rand(clips) if net.cfg.noise_level_cond else None
    want = net(x, c, t, text, mask, level)
    (want * w).sum().backward()
    gradients = {k: p.grad.clone() for k, p in net.named_parameters()}
    net.zero_grad()
    net = net.to(memory_format=torch.channels_last)
    got = train_gpu.forward(net, x.transpose(1, 2), None if c is None else c.transpose(1, 2), t, text, mask, level).transpose(1, 2)
    (got * w).sum().backward()
    return ((got - want).square().mean() / want.square().mean()).item(), max(
        ((gradients[k] - p.grad).square().sum() / gradients[k].square().sum()).item() for k, p in net.named_parameters())


def main():
    torch.manual_seed(0)
    small = UNetConfig(channels=(32, 48, 64, 96))
    worst = 0
    for name, net, *shape in (("image", UNet(small), 2, 1, 16, 0), ("video", inflate(UNet(small), cond_channels=4), 2, 16, 16, 4),
                              ("ssr", UNet(replace(train_gpu.SSR, channels=(32, 48, 64))), 2, 3, 32, 3)):
        output, gradient = errors(net, *shape)
        print(f"{name}: normalised mean square error {output:.1e}, of the worst gradient {gradient:.1e}")
        worst = max(worst, output, gradient)
    sys.exit(worst > 1e-8)


if __name__ == "__main__":
    main()
