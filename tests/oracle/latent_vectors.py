"""Writes tests/data/latent_vectors.h: what a small network of another family than the program's own gives, in double precision.

Latents of 4 channels instead of pictures, 77 tokens of text, eps 1e-6 in norms, timesteps from 0 to 1000 with the cosine first, query, key and
value stored apart: what the networks of Stable Diffusion (arXiv 2112.10752) have and the U-Net here has not. Weights and inputs are by formula.py;
tests/net/test_network.c builds the same of ops, loads it and runs it.
"""
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

from formula import name_seed, record, values
from unet_vectors import weight

WIDTH, HEADS, EMBED, TEXT, TOKENS, SIDE, BATCH, GROUPS, EPS = 16, 2, 24, 12, 77, 6, 2, 4, 1e-6


def w(name, *shape):
    return torch.from_numpy(weight(name, shape)).double()


def x(name, *shape):
    return torch.from_numpy(values(name_seed(name), shape)).float().double()


def linear(name, z, out):
    return F.linear(z, w(name + ".weight", out, z.shape[-1]), w(name + ".bias", out))


def conv(name, z, out):
    return F.conv2d(z, w(name + ".weight", out, z.shape[1], 3, 3), w(name + ".bias", out), padding=1)


def norm(name, z):
    return F.group_norm(z, GROUPS, w(name + ".weight", z.shape[1]), w(name + ".bias", z.shape[1]), EPS)


def timestep(t, width):
    freq = torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    return torch.cat([(t[:, None] * freq).cos(), (t[:, None] * freq).sin()], -1)


def attention(h, context, mask):
    b, c, height, wide = h.shape
    rows = norm("attn.norm", h).flatten(2).transpose(1, 2)
    q, k, v = (linear("attn." + name, rows, c) for name in ("to_q", "to_k", "to_v"))
    k = torch.cat([k, linear("attn.add_k", context, c)], 1)
    v = torch.cat([v, linear("attn.add_v", context, c)], 1)
    q, k, v = (z.view(b, -1, HEADS, c // HEADS).transpose(1, 2) for z in (q, k, v))
    seen = torch.cat([torch.ones(b, rows.shape[1]), mask], 1).bool()[:, None, None]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(b, -1, c)
    return h + linear("attn.to_out", y, c).transpose(1, 2).reshape(h.shape)


def network(latent, t, context, mask):
    e = linear("time.1", F.silu(linear("time.0", timestep(t, WIDTH), EMBED)), EMBED)
    h = conv("conv_in", latent, WIDTH)
    r = conv("res.conv1", F.silu(norm("res.norm1", h)), WIDTH)
    scale, shift = linear("res.time", F.silu(e), 2 * WIDTH)[:, :, None, None].chunk(2, 1)
    h = h + conv("res.conv2", F.silu(norm("res.norm2", r) * (1 + scale) + shift), WIDTH)
    h = attention(h, context, mask)
    return conv("conv_out", F.silu(norm("norm_out", h)), 4)


def main():
    latent = x("latent", BATCH, SIDE, SIDE, 4).permute(0, 3, 1, 2)
    t = torch.tensor([981.0, 21.0], dtype=torch.float64)
    mask = (torch.arange(TOKENS)[None] < torch.tensor([9, 77])[:, None]).double()
    y = network(latent, t, x("context", BATCH, TOKENS, TEXT), mask).permute(0, 2, 3, 1)
    numbers = ", ".join(f"{v!r}f" for v in record(y.numpy()).tolist())
    path = os.path.join(os.path.dirname(__file__), "../data/latent_vectors.h")
    with open(path, "w") as f:
        f.write("// By tests/oracle/latent_vectors.py: record of the output [2,6,6,4].\n#pragma once\n")
        f.write("// clang-format off\nstatic const float latent_record[] = {\n" + numbers + "};\n")


if __name__ == "__main__":
    main()
