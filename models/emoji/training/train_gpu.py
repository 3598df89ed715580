"""The trainer in PyTorch for one NVIDIA GPU, without work on the host: the networks of stunet.py by the recipe of `lumiere train`.

    python3 models/emoji/training/train_gpu.py RUNS.json        needs torch with Triton, numpy, Pillow, and OpenCV or the command ffmpeg

RUNS.json (gpu-image.json, gpu-0.5-video.json ... beside this file): {"text": FILE.npz, "stages": [...]}; pack_captions.py makes the text file. A stage:
name, stage (image, video, ssr), data (folder of shards), init (folder), out, config, phases. A phase trains for `seconds` (or `steps`) on `sizes`
[[pixels, batch, share of the steps], ...]. Other keys are those of docs/training.md. train_on_gpu.py runs several files, in parts that fit a machine's time.

Sprites, captions, conditions and noise are drawn, rendered and encoded on the GPU, by the random numbers of `lumiere train` (philox.py; the stage ssr by
others); these, forward, backward, the optimisers and the moving average are one CUDA graph for each size. Frames are channels-last, so that folding time
into the batch is free. The checkpoint's tensors are those of `lumiere train`. check_train_gpu.py compares with the specification and with the program.
Without a GPU everything runs on the CPU, slowly, in fp32.
"""
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

import philox
from optimiser import Optimiser

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "tests", "oracle"))
from stunet import UNet, UNetConfig, alpha_sigma, ddim, fourier, v_target  # noqa: E402

SSR = UNetConfig(cond_channels=3, patch=4, channels=(64, 96, 160), attention=(False,) * 3, noise_level_cond=True, residual_scale=8,
                 video=True, temporal_down=(False, False), temporal_attention_blocks=1, max_frames=16)
COLORS = [(255, 255, 255), (20, 20, 20), (128, 128, 128), (220, 50, 50), (245, 150, 50), (250, 220, 80), (70, 170, 80), (60, 110, 220),
          (150, 205, 250), (140, 80, 190), (250, 160, 195), (130, 85, 55), (40, 150, 150)]
LENGTH = 32     # text tokens
MOMENTS = 80
UNKNOWN = 2.0   # moment of a still that isn't told
INTERPRETED = bool(os.environ.get("TRITON_INTERPRET"))      # kernels on the CPU: for check_train_gpu.py
CUDA = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if CUDA else "cpu"
KERNELS = CUDA or INTERPRETED


# ---- group normalisation, scale and shift, SiLU: y = silu(norm(x) a + b), x (N,HW,C), a and b (N,C) ----

@triton.jit
def norm_forward(x, a, b, y, mean, rstd, HW, C, eps, GROUPS: tl.constexpr, WIDTH: tl.constexpr, P: tl.constexpr, SILU: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    width = C // GROUPS
    pixel, group, inner = tl.arange(0, P)[:, None, None], tl.arange(0, GROUPS)[None, :, None], tl.arange(0, WIDTH)[None, None, :]
    channel = group * width + inner
    base = n * HW * C
    total, square = tl.zeros((P, GROUPS, WIDTH), tl.float32), tl.zeros((P, GROUPS, WIDTH), tl.float32)
    for p in range(0, HW, P):
        keep = (p + pixel < HW) & (inner < width)
        v = tl.load(x + base + (p + pixel) * C + channel, mask=keep, other=0.0).to(tl.float32)
        total += v
        square += v * v
    m = tl.sum(tl.sum(total, 2), 0) / (HW * width)
    r = 1.0 / tl.sqrt(tl.maximum(tl.sum(tl.sum(square, 2), 0) / (HW * width) - m * m, 0.0) + eps)
    tl.store(mean + n * GROUPS + tl.arange(0, GROUPS), m)
    tl.store(rstd + n * GROUPS + tl.arange(0, GROUPS), r)
    scale = tl.load(a + n * C + channel, mask=inner < width, other=0.0) * r[None, :, None]
    shift = tl.load(b + n * C + channel, mask=inner < width, other=0.0) - m[None, :, None] * scale
    for p in range(0, HW, P):
        keep = (p + pixel < HW) & (inner < width)
        at = base + (p + pixel) * C + channel
        z = tl.load(x + at, mask=keep, other=0.0).to(tl.float32) * scale + shift
        if SILU:
            z = z * tl.sigmoid(z)
        tl.store(y + at, z.to(y.dtype.element_ty), mask=keep)


@triton.jit
def norm_backward(x, dy, a, b, mean, rstd, dx, da, db, HW, C, GROUPS: tl.constexpr, WIDTH: tl.constexpr, P: tl.constexpr, SILU: tl.constexpr):
    n = tl.program_id(0).to(tl.int64)
    width = C // GROUPS
    pixel, group, inner = tl.arange(0, P)[:, None, None], tl.arange(0, GROUPS)[None, :, None], tl.arange(0, WIDTH)[None, None, :]
    channel = group * width + inner
    base = n * HW * C
    m = tl.load(mean + n * GROUPS + tl.arange(0, GROUPS))[None, :, None]
    r = tl.load(rstd + n * GROUPS + tl.arange(0, GROUPS))[None, :, None]
    scale = tl.load(a + n * C + channel, mask=inner < width, other=0.0)
    shift = tl.load(b + n * C + channel, mask=inner < width, other=0.0)
    sa, sb = tl.zeros((P, GROUPS, WIDTH), tl.float32), tl.zeros((P, GROUPS, WIDTH), tl.float32)
    for p in range(0, HW, P):
        keep = (p + pixel < HW) & (inner < width)
        at = base + (p + pixel) * C + channel
        h = (tl.load(x + at, mask=keep, other=0.0).to(tl.float32) - m) * r
        d = tl.load(dy + at, mask=keep, other=0.0).to(tl.float32)
        if SILU:
            z = h * scale + shift
            s = tl.sigmoid(z)
            d = d * s * (1 + z * (1 - s))
        sa += d * h
        sb += d
    ga, gb = tl.sum(sa, 0)[None, :, :], tl.sum(sb, 0)[None, :, :]
    tl.store(da + n * C + channel, ga, mask=inner < width)
    tl.store(db + n * C + channel, gb, mask=inner < width)
    mb = tl.sum(gb * scale, 2)[:, :, None] / (HW * width)
    ma = tl.sum(ga * scale, 2)[:, :, None] / (HW * width)
    for p in range(0, HW, P):
        keep = (p + pixel < HW) & (inner < width)
        at = base + (p + pixel) * C + channel
        h = (tl.load(x + at, mask=keep, other=0.0).to(tl.float32) - m) * r
        d = tl.load(dy + at, mask=keep, other=0.0).to(tl.float32)
        if SILU:
            z = h * scale + shift
            s = tl.sigmoid(z)
            d = d * s * (1 + z * (1 - s))
        tl.store(dx + at, (r * (d * scale - mb - h * ma)).to(dx.dtype.element_ty), mask=keep)


class Norm(torch.autograd.Function):
    @staticmethod
    def sizes(x, groups):
        n, c, h, w = x.shape
        width = triton.next_power_of_2(c // groups)
        return n, h * w, c, width, max(1, min(triton.next_power_of_2(h * w), 4096 // (groups * width)))

    @staticmethod
    def forward(ctx, x, a, b, groups, silu):
        x = x.contiguous(memory_format=torch.channels_last)
        n, hw, c, width, pixels = Norm.sizes(x, groups)
        y = torch.empty_like(x)
        a, b = a.contiguous(), b.contiguous()
        mean, rstd = (torch.empty(n, groups, device=x.device) for _ in "mr")
        norm_forward[(n,)](x, a, b, y, mean, rstd, hw, c, 1e-5, groups, width, pixels, silu, num_warps=8)
        ctx.save_for_backward(x, a, b, mean, rstd)
        ctx.groups, ctx.silu = groups, silu
        return y

    @staticmethod
    def backward(ctx, dy):
        x, a, b, mean, rstd = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        n, hw, c, width, pixels = Norm.sizes(x, ctx.groups)
        dx, da, db = torch.empty_like(x), torch.empty_like(a), torch.empty_like(b)
        norm_backward[(n,)](x, dy, a, b, mean, rstd, dx, da, db, hw, c, ctx.groups, width, pixels, ctx.silu, num_warps=8)
        return dx, da, db, None, None


def norm(layer, x, silu=True, scale_shift=None):
    """x (N,C,H,W); scale_shift (B,2C), B a divisor of N."""
    a, b = layer.weight[None], layer.bias[None]
    if scale_shift is not None:
        scale, shift = scale_shift.float().repeat_interleave(x.shape[0] // scale_shift.shape[0], 0).chunk(2, 1)
        a, b = a * (1 + scale), b * (1 + scale) + shift
    if not KERNELS:
        y = F.group_norm(x.float(), layer.num_groups, eps=1e-5) * a[..., None, None] + b[..., None, None]
        return F.silu(y) if silu else y
    return Norm.apply(x, a.expand(x.shape[0], -1), b.expand(x.shape[0], -1), layer.num_groups, silu)


# ---- the blocks of stunet.py over frames: x (B T,C,H,W) channels-last, emb (B,D), text (B,L,E) ----

def res_block(m, x, emb):
    h = m.conv1(norm(m.norm1, x))
    h = m.conv2(norm(m.norm2, h, True, m.embed(emb)))
    return (x if m.skip is None else m.skip(x)) + h


def tokens(x):      # (N,C,H,W) -> (N,HW,C), a view
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def pixels(y, like):
    n, c, h, w = like.shape
    return y.reshape(n, h, w, c).permute(0, 3, 1, 2)


def attention(m, x, text, mask):
    n, c, h, w = x.shape
    t = n // text.shape[0]
    q, k, v = m.qkv(tokens(norm(m.norm, x, False))).chunk(3, -1)
    tk, tv = m.text_kv(m.text_norm(text)).repeat_interleave(t, 0).chunk(2, -1)
    k, v = torch.cat([k, tk.to(k)], 1), torch.cat([v, tv.to(v)], 1)
    q, k, v = (z.reshape(n, -1, m.heads, c // m.heads).transpose(1, 2) for z in (q, k, v))
    keep = torch.cat([mask.new_ones(n, h * w), mask.repeat_interleave(t, 0)], 1)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None].expand(-1, m.heads, h * w, -1))
    return x + pixels(m.out(y.transpose(1, 2).reshape(n, h * w, c)), x)


def time_conv(conv, x, b, stride=1):
    n, c, h, w = x.shape
    y = tokens(x).reshape(b, n // b, h * w, c).permute(0, 3, 1, 2)
    y = F.conv2d(y, conv.weight[..., None].contiguous(memory_format=torch.channels_last), conv.bias, stride=(stride, 1), padding=(1, 0))
    return y.permute(0, 2, 3, 1).reshape(-1, h, w, c).permute(0, 3, 1, 2)


def temporal(m, x, b, emb):
    n, c, h, w = x.shape
    if m.conv is not None:
        m = m.conv
        y = time_conv(m.time, norm(m.norm1, m.space(x)), b)
        return x + pixels(m.out(tokens(norm(m.norm2, y, True, m.embed(emb)))), x)
    for m in m.attention:
        t = n // b
        y = tokens(norm(m.norm, x, False)).reshape(b, t, h * w, c).transpose(1, 2) + m.position[:t].to(x.dtype)
        q, k, v = (z.reshape(b * h * w, t, m.heads, -1).transpose(1, 2) for z in m.qkv(y).reshape(b * h * w, t, 3 * c).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, t, c).transpose(1, 2)
        x = x + pixels(m.out(y).reshape(n, h * w, c), x)
    return x


def forward(net, x, cond, t, text, mask, level=None, moment=None):
    """stunet.UNet.forward; x (B,T,C,H,W), cond likewise, moment (B,T) -> v (B,T,C,H,W)."""
    b, frames = x.shape[:2]
    cfg = net.cfg
    last = torch.channels_last

    def stem(z):
        return F.pixel_unshuffle(z.flatten(0, 1), cfg.patch).contiguous(memory_format=last)
    pooled = (text * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    emb = net.time_mlp(fourier(t, cfg.channels[0] * 4)) + net.text_pool(pooled)
    if level is not None:
        emb = emb + net.noise_mlp(fourier(level, cfg.channels[0] * 4))
    clip_emb, emb, told = emb, F.silu(emb), {}

    def frame_emb(h):       # that of a level's frames
        count = len(h) // b
        if net.moment_mlp is None:
            return emb
        if count not in told:
            kept = net.moment_mlp(fourier(moment[:, ::frames // count].flatten(), cfg.channels[0] * 4))
            told[count] = F.silu(clip_emb.repeat_interleave(count, 0) + kept)
        return told[count]
    h = net.conv_in(stem(x))
    if cond is not None:
        h = h + net.cond_in(stem(cond))
    skips = []
    for level in net.down:
        for j, res in enumerate(level["res"]):
            h = res_block(res, h, frame_emb(h))
            if len(level["attn"]):
                h = attention(level["attn"][j], h, text, mask)
            if j + 1 < len(level["res"]):
                skips.append(h)
        if "temporal" in level:
            h = temporal(level["temporal"], h, b, emb)
        skips.append(h)
        if "resize" in level:
            h = level["resize"](h)
            if "temporal_resize" in level:
                h = time_conv(level["temporal_resize"].conv, h, b, 2)
    for level in net.up:
        for j, res in enumerate(level["res"]):
            h = res_block(res, torch.cat([h, skips.pop()], 1), frame_emb(h))
            if len(level["attn"]):
                h = attention(level["attn"][j], h, text, mask)
        if "temporal" in level:
            h = temporal(level["temporal"], h, b, emb)
        if "resize" in level:
            h = level["resize"](F.interpolate(h, scale_factor=2, mode="nearest"))
            if "temporal_resize" in level:
                n, c, height, width = h.shape
                h = tokens(h).reshape(b, n // b, -1, c).repeat_interleave(2, 1).reshape(2 * n, height, width, c).permute(0, 3, 1, 2)
                h = time_conv(level["temporal_resize"].conv, h, b)
    y = F.pixel_shuffle(net.conv_out(norm(net.norm_out, h)), cfg.patch)
    return y.reshape(b, frames, *y.shape[1:])


# ---- text: MiniLM with the vocabulary of the captions only ----

class Captions:
    """Captions as token ids, put together on the device, and their states."""

    def __init__(self, path):
        self.z = {k: torch.from_numpy(v).to(DEVICE) for k, v in np.load(path).items()}
        self.bert = {k: (v.float() * self.z[k + ".scale"][:, None] if k + ".scale" in self.z else v).to(torch.float16 if CUDA else torch.float32)
                     for k, v in self.z.items() if "." in k and not k.endswith(".scale")}
        self.subjects = json.loads(bytes(self.z["records"].cpu().numpy()).decode())
        self.comma, self.cls, self.sep = (int(self.z["special"][i]) for i in range(3))

    @staticmethod
    def chain(parts, width):
        """parts: pairs of ids (N,K) and lengths (N,), one behind the other -> ids (N,width), lengths"""
        at, ids, end = torch.arange(width, device=DEVICE)[None], torch.zeros((), dtype=torch.long, device=DEVICE), 0 * parts[0][1]
        for words, length in parts:
            inner = at - end[:, None]
            ids = torch.where((inner >= 0) & (inner < length[:, None]), words.gather(1, inner.clamp(0, words.shape[1] - 1)), ids)
            end = end + length
        return ids, end

    def join(self, parts):
        """-> ids (N,LENGTH) between [CLS] and [SEP], mask"""
        one = torch.ones_like(parts[0][1])
        ids, end = self.chain([((self.cls * one)[:, None], one), *parts], LENGTH)
        at, end = torch.arange(LENGTH, device=DEVICE)[None], end.clamp(max=LENGTH - 1)[:, None]
        return torch.where(at == end, self.sep, torch.where(at > end, 0, ids)), at <= end

    def compose(self, entry, animated, motion, color, share, caption, heard, random):
        """lm_caption_compose: motion (N,) is the one told, 0 for none; share of the captions is told in other words, share caption is the caption itself; where not heard: nothing."""
        z, zero = self.z, torch.zeros_like(entry)
        drawn = random.uniform() >= caption if caption > 0 else zero == 0
        variant = z["variant_start"][entry] + torch.where(drawn, random.below(z["variant_count"][entry], drawn), 0)
        has_own = (motion == 0) & animated & (z["own_motion"][entry] >= 0)
        own = has_own & (random.uniform(has_own) < 0.5) & ~z["says_motion"][variant].bool()
        phrase = torch.where(own, z["own_motion"][entry], motion)
        say_color = (color > 0) | (random.uniform(color == 0) < 0.3)
        other = random.uniform() < share if share > 0 else zero > 0
        moved = other & (motion > 0)
        phrase = torch.where(moved, 13 + 5 * (motion - 1) + random.below(5, moved), phrase)
        subject = torch.where(other, 1 + random.below(torch.where(z["variant_bare"][variant], 9, 4), other), 0)
        coloring = torch.where(other & say_color, 1 + random.below(4, other & say_color), 0) * len(COLORS) + color
        shuffled = other & (random.uniform(other) < 0.5)
        order = torch.arange(3, device=DEVICE).expand(len(entry), 3)
        for i in (2, 1):
            j = torch.where(shuffled, random.below(i + 1, shuffled), i)[:, None]
            order = order.scatter(1, zero[:, None] + i, order.gather(1, j)).scatter(1, j, order[:, i:i + 1])

        bare, ids = subject >= 5, z["variant_ids"][variant]
        ids = torch.where(bare[:, None], F.pad(ids[:, 1:], (0, 1)), ids)
        parts = [self.chain([(z["subject_ids"][subject], z["subject_length"][subject]), (ids, z["variant_length"][variant] - bare.long())], LENGTH),
                 (z["phrase_ids"][phrase], z["phrase_length"][phrase]), (z["color_ids"][coloring], z["color_length"][coloring] * say_color)]
        words = torch.stack([F.pad(w, (0, LENGTH - w.shape[1])) for w, _ in parts], 1).gather(1, order[..., None].expand(-1, -1, LENGTH))
        lengths = torch.stack([k for _, k in parts], 1).gather(1, order) * heard[:, None]
        commas = (lengths > 0) & (lengths.cumsum(1) > lengths)
        comma = (zero + self.comma)[:, None]
        return self.join([p for i in range(3) for p in ((comma, commas[:, i].long()), (words[:, i], lengths[:, i]))])

    @torch.no_grad()
    def encode(self, ids, mask):
        w = self.bert

        def linear(name, x):
            return F.linear(x, w[name + ".weight"], w[name + ".bias"])

        def layer_norm(name, x):
            return F.layer_norm(x, (384,), w[name + ".weight"], w[name + ".bias"], 1e-12)
        n = len(ids)
        h = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:LENGTH] + w["embeddings.token_type_embeddings.weight"][0]
        h = layer_norm("embeddings.LayerNorm", h)
        keep = mask[:, None, None].expand(-1, 12, LENGTH, -1)
        for i in range(6):
            p = f"encoder.layer.{i}."
            q, k, v = (linear(p + f"attention.self.{s}", h).reshape(n, LENGTH, 12, 32).transpose(1, 2) for s in ("query", "key", "value"))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep).transpose(1, 2).reshape(n, LENGTH, 384)
            h = layer_norm(p + "attention.output.LayerNorm", h + linear(p + "attention.output.dense", y))
            y = linear(p + "output.dense", F.gelu(linear(p + "intermediate.dense", h)))
            h = layer_norm(p + "output.LayerNorm", h + y)
        return h.float()


# ---- data ----

def motion_table():
    p = torch.linspace(0, 1, MOMENTS, dtype=torch.float64)
    o, pi = 0 * p, math.pi
    rows = [(o, o, 1 + o, o), (-0.85 + 1.7 * p, o, 0.7 + o, o), (0.85 - 1.7 * p, o, 0.7 + o, o), (o, 0.85 - 1.7 * p, 0.7 + o, o),
            (o, -0.85 + 1.7 * p, 0.7 + o, o), (o, 0.4 - 0.8 * (4 * pi * p).sin().abs(), 0.7 + o, o), (o, o, 0.8 + o, 2 * p),
            (o, o, 0.8 + o, -2 * p), (o, o, 0.4 + 0.6 * p, o), (o, o, 1.0 - 0.6 * p, o), (o, o, 0.7 + o, 0.12 * (6 * pi * p).sin()),
            (0.45 * (4 * pi * p).sin(), -0.45 * (4 * pi * p).cos(), 0.7 + o, o), (-0.85 + 1.7 * p, 0.4 * (6 * pi * p).sin(), 0.7 + o, o)]
    return torch.stack([torch.stack(r, 1) for r in rows]).float().to(DEVICE)      # (13,80,4): x, y, scale, turns


def theta_of(x, y, k, turns):
    """Output pixel -> sprite pixel: (...,2,3)."""
    c, s = (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()
    return torch.stack([torch.stack([c / k, s / k, -(c * x + s * y) / k], -1), torch.stack([-s / k, c / k, (s * x - c * y) / k], -1)], -2)


@triton.jit
def texel(bank, base, side, ix, iy, weight, red, green, blue, alpha):
    keep = (ix >= 0) & (ix < side) & (iy >= 0) & (iy < side)
    v = tl.load(bank + base + iy * side + ix, mask=keep, other=0)
    red += weight * (v & 255).to(tl.float32)
    green += weight * ((v >> 8) & 255).to(tl.float32)
    blue += weight * ((v >> 16) & 255).to(tl.float32)
    alpha += weight * ((v >> 24) & 255).to(tl.float32)
    return red, green, blue, alpha


@triton.jit
def render_kernel(bank, bases, sides, theta, back, out, S, BLOCK: tl.constexpr):
    """Bilinear sampling with zeros outside (grid_sample, align_corners=False) of premultiplied RGBA over a background; out in [-1,1]."""
    n = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    keep = at < S * S
    base, side = tl.load(bases + n), tl.load(sides + n)
    xn, yn = (2 * (at % S) + 1.0) / S - 1.0, (2 * (at // S) + 1.0) / S - 1.0
    t = theta + n * 6
    gx = tl.load(t) * xn + tl.load(t + 1) * yn + tl.load(t + 2)
    gy = tl.load(t + 3) * xn + tl.load(t + 4) * yn + tl.load(t + 5)
    fx, fy = ((gx + 1) * side - 1) * 0.5, ((gy + 1) * side - 1) * 0.5
    x0, y0 = tl.floor(fx), tl.floor(fy)
    wx, wy = fx - x0, fy - y0
    ix, iy = tl.minimum(tl.maximum(x0, -2.0), 100000.0).to(tl.int32), tl.minimum(tl.maximum(y0, -2.0), 100000.0).to(tl.int32)
    r, g, b, a = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    r, g, b, a = texel(bank, base, side, ix, iy, (1 - wx) * (1 - wy), r, g, b, a)
    r, g, b, a = texel(bank, base, side, ix + 1, iy, wx * (1 - wy), r, g, b, a)
    r, g, b, a = texel(bank, base, side, ix, iy + 1, (1 - wx) * wy, r, g, b, a)
    r, g, b, a = texel(bank, base, side, ix + 1, iy + 1, wx * wy, r, g, b, a)
    o = out + n.to(tl.int64) * S * S * 3 + at * 3
    rest = 1 - a / 255
    for c in tl.static_range(3):
        v = (r if c == 0 else (g if c == 1 else b)) / 255 + rest * tl.load(back + n * 3 + c)
        tl.store(o + c, tl.minimum(tl.maximum(2 * v - 1, -1.0), 1.0), mask=keep)


def is_validation(subject):
    import zlib
    return zlib.crc32(subject.encode()) % 20 == 0


def read_clip(webm, s):
    """RGB over alpha -> (T,S,S,4)"""
    try:
        import cv2
    except ImportError:
        command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        v = np.frombuffer(subprocess.run(command, input=webm, capture_output=True, check=True).stdout, np.uint8).reshape(-1, 2 * s, s, 3)
        return np.ascontiguousarray(np.concatenate([v[:, :s], v[:, s:, :, :1]], -1))
    import tempfile
    with tempfile.NamedTemporaryFile(suffix=".webm") as f:
        f.write(webm)
        f.flush()
        video, frames = cv2.VideoCapture(f.name), []
        while True:
            ok, picture = video.read()
            if not ok:
                break
            frames.append(picture[:, :, ::-1])
    v = np.stack(frames)
    return np.ascontiguousarray(np.concatenate([v[:, :s], v[:, s:, :, :1]], -1))


def read_record(task):
    record, parts = task
    if "webm" in parts:
        return read_clip(parts["webm"], record["size"])
    import io
    from PIL import Image
    s = record["size"]
    i = record["styles"].index("3d")
    x = np.asarray(Image.open(io.BytesIO(parts["webp"])).convert("RGBA")).astype(np.float32)[:, i * s:(i + 1) * s].copy()
    x[..., :3] *= x[..., 3:] / 255
    return (x + 0.5).astype(np.uint8)[None]


def read_shards(path):
    """A tar or a folder of them -> [(record, its files)] of the training part, in the order that pack_captions.py numbers."""
    import glob
    import tarfile
    found = []
    for shard in [path] if path.endswith(".tar") else sorted(glob.glob(os.path.join(path, "*.tar"))):
        parts = {}
        with tarfile.open(shard) as tar:
            for m in tar:
                key, ending = m.name.split(".", 1)
                parts.setdefault(key, {})[ending] = tar.extractfile(m).read()
        for key, p in parts.items():
            record = json.loads(p["json"])
            if not is_validation(record["subject"]) and ("webm" in p or "3d" in record["styles"]):
                found.append((record, p))
    return found


def decoded(folder, thin, kept):
    """-> records, their numbers of frames, all frames (F,S,S,4). Of `thin` records one is taken. kept: where the frames are kept for the next time."""
    records = [r for r, _ in read_shards(folder)][::thin]
    if kept and os.path.exists(kept):
        z = np.load(kept)
        return records, np.load(kept + ".counts.npy"), torch.from_numpy(z)
    with ProcessPoolExecutor(min(15, os.cpu_count())) as pool:
        frames = list(pool.map(read_record, read_shards(folder)[::thin], chunksize=8))
    counts, frames = np.array([len(f) for f in frames]), np.concatenate(frames)
    if kept:
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        np.save(kept + ".counts.npy", counts)
        np.save(kept + ".part.npy", frames)
        os.replace(kept + ".part.npy", kept)
    return records, counts, torch.from_numpy(frames)


class Sprites:
    def __init__(self, folder, captions, thin=1, kept=None):
        records, counts, bank = decoded(folder, thin, kept)
        self.side = bank.shape[1]
        bank = bank.to(DEVICE)
        levels = [bank] + [torch.cat([F.avg_pool2d(z.float().permute(0, 3, 1, 2), f).round().byte().permute(0, 2, 3, 1) for z in bank.split(512)])
                           for f in (2, 4)]
        self.bank = torch.cat([z.contiguous().view(torch.int32).flatten() for z in levels])
        self.levels = levels
        self.level_base = torch.tensor(np.cumsum([0] + [z.numel() // 4 for z in levels[:2]]), device=DEVICE)
        self.count = torch.from_numpy(counts).to(DEVICE)
        self.start = torch.from_numpy(np.cumsum([0, *counts[:-1]])).to(DEVICE)
        self.animated = (self.count > 1).nonzero()[:, 0]
        self.captions = captions
        where = {k: i for i, k in enumerate(captions.subjects)}
        self.entry = torch.tensor([where[r["key"]] for r in records], device=DEVICE)
        self.motions, self.colors = motion_table(), torch.tensor(COLORS, dtype=torch.float32, device=DEVICE) / 255
        print(f"{folder}: {len(records)} sprites, {len(self.animated)} animated, {len(bank)} frames", flush=True)

    def render(self, frame, theta, scale, back, size):
        """frame (N,) of the bank, theta (N,2,3), scale (N,), back (N,3) -> (N,3,size,size) in [-1,1], channels-last"""
        level = (scale < 0.7).long() + (scale < 0.35).long()
        if not KERNELS:
            return self.render_slowly(frame, theta, level, back, size)
        side = self.side >> level
        base = self.level_base[level] + frame * side * side
        s = self.side
        out = torch.empty(len(frame), s, s, 3, device=DEVICE)
        render_kernel[(len(frame), triton.cdiv(s * s, 1024))](self.bank, base, side, theta.contiguous(), back.contiguous(), out, s, 1024, num_warps=4)
        x = out.permute(0, 3, 1, 2)
        return x if size == s else F.avg_pool2d(x, s // size)

    def render_slowly(self, frame, theta, level, back, size):
        s = self.side
        out = torch.empty(len(frame), 3, s, s)
        for k, bank in enumerate(self.levels):
            pick = (level == k).nonzero()[:, 0]
            if len(pick):
                grid = F.affine_grid(theta[pick], (len(pick), 4, s, s), align_corners=False)
                x = F.grid_sample(bank[frame[pick]].permute(0, 3, 1, 2).float() / 255, grid, padding_mode="zeros", align_corners=False)
                out[pick] = ((x[:, :3] + (1 - x[:, 3:]) * back[pick][:, :, None, None]) * 2 - 1).clamp(-1, 1)
        return out if size == s else F.avg_pool2d(out, s // size)

    def draw(self, n, o, random, moments, dropout):
        """draw_scene and draw_caption of src/train/dataset.c -> x0 (n,frames,3,S,S), moments (n,frames), text ids (n,LENGTH), mask

        o: frames, stride, any_start, size and the shares; stride and any_start are not the program's. random ...: streams of n items
        """
        frames, no = o["frames"], torch.zeros(n, dtype=torch.bool, device=DEVICE)
        animated = random.uniform() < 0.7 if frames > 1 and len(self.animated) else no
        i = random.below(torch.where(animated, len(self.animated), len(self.count)))
        i = torch.where(animated, self.animated[i.clamp(max=len(self.animated) - 1)], i) if len(self.animated) else i
        count = self.count[i]
        moved, lone = random.uniform() < o["motion_share"], (count == 1) & (frames > 1)
        moved = torch.where(lone, random.uniform(lone) >= o["plain_share"] if o["plain_share"] else True, moved)
        motion = torch.where(moved, 1 + random.below(len(self.motions) - 1, moved), 0)
        colored = random.uniform() < o["color_share"]
        color = torch.where(colored, 1 + random.below(len(COLORS) - 1, colored), 0)
        first = random.below(MOMENTS - (frames - 1) * o["stride"]) * o["any_start"]
        offset = torch.where(moved, 0, random.below(count, ~moved))
        told, says_moment = moved, no
        if frames == 1:
            told = moved & (random.uniform(moved) < o["motion_caption_share"]) if o["motion_caption_share"] > 0 else no
            says_moment = moments.uniform() < o["moment_share"] if o["moment_share"] > 0 else no
            late = told & ~says_moment
            u = random.uniform(late)
            first = torch.where(late, (MOMENTS * u * u).long(), first)
        moment = first[:, None] + torch.arange(frames, device=DEVICE) * o["stride"]
        sprite = self.start[i][:, None] + (offset[:, None] + moment) % count[:, None]
        x, y, k, turns = self.motions[motion[:, None], moment].unbind(-1)
        back = self.colors[color][:, None].expand(-1, frames, -1).flatten(0, 1)
        x0 = self.render(sprite.flatten(), theta_of(x, y, k, turns).flatten(0, 1), k.flatten(), back, o["size"])
        heard = dropout.uniform() >= o["caption_dropout"]
        ids, mask = self.captions.compose(self.entry[i], count > 1, motion * told, color, o["wording_share"], o["caption_share"], heard, random)
        said = moment.float() / (MOMENTS - 1) if frames > 1 else torch.where(says_moment[:, None], moment.float() / (MOMENTS - 1), UNKNOWN)
        return x0.reshape(n, frames, 3, o["size"], o["size"]), said, ids, mask


def random_condition(x0, share, random):
    """src/train/conditions.c, all clips at once: (B,T,4,H,W)."""
    b, t, _, h, w = x0.shape
    dev = x0.device

    def span(size, where=None):
        length = size // 8 + random.below(size - size // 8 + 1, where)
        return random.below(size - length + 1, where), length
    given = random.uniform() < share if share != 1 else torch.ones(b, dtype=torch.bool, device=dev)
    kind = random.below(9)                                              # 0 and 1: nothing is given, 2 and 3: the first frame
    kind = torch.where(kind < 4, kind // 2, kind - 2) * given
    drift, band, cine = kind == 5, kind == 4, kind == 6
    (y, bh), (x, bw) = span(h), span(w)
    rows = random.uniform(band) < 0.5
    (y1, _), (x1, _) = span(h, drift), span(w, drift)
    p = torch.arange(t, device=dev, dtype=torch.float64)[None] / max(t - 1, 1)
    top = torch.where(drift[:, None], (y[:, None] + p * (y1 - y)[:, None]).round().long(), y[:, None])
    left = torch.where(drift[:, None], (x[:, None] + p * (x1 - x)[:, None]).round().long(), x[:, None])
    bottom, right = top + bh[:, None], left + bw[:, None]
    left, right = torch.where((band & rows)[:, None], 0, left), torch.where((band & rows)[:, None], w, right)
    top, bottom = torch.where((band & ~rows)[:, None], 0, top), torch.where((band & ~rows)[:, None], h, bottom)
    moved = ((x0 - x0[:, :1]).abs().amax((1, 2)) > 0.1)                                    # (B,H,W)
    ys, xs = torch.arange(h, device=dev), torch.arange(w, device=dev)
    in_rows, in_columns = moved.any(2), moved.any(1)
    some = in_rows.any(1)

    def bounds(hit, at, size):
        return torch.where(hit, at, size).amin(1) - 2, torch.where(hit, at, -1).amax(1) + 3
    (mt, mb), (ml, mr) = bounds(in_rows, ys, h), bounds(in_columns, xs, w)
    mt, mb = torch.where(some, mt, 0), torch.where(some, mb, 0)
    top, bottom = torch.where(cine[:, None], mt[:, None], top), torch.where(cine[:, None], mb[:, None], bottom)
    left, right = torch.where(cine[:, None], ml[:, None], left), torch.where(cine[:, None], mr[:, None], right)
    inside = ((ys >= top[..., None]) & (ys < bottom[..., None]))[..., None] & ((xs >= left[..., None]) & (xs < right[..., None]))[..., None, :]
    outer = ((kind == 2) | drift | cine)[:, None, None, None]           # what is given: outside the box, or inside it
    inner = ((kind == 3) | band)[:, None, None, None]
    m = (inside & inner) | (~inside & outer)
    opening = torch.arange(t, device=dev)[None, :, None, None] == 0
    m = m | (opening & ((kind == 1) | cine)[:, None, None, None])
    m = m[:, :, None].float()
    return torch.cat([x0 * m, m], 2)


def ends_condition(x0):
    """Temporal super-resolution: the first frame is given and, nine times in ten, the last."""
    b, t, _, h, w = x0.shape
    m = torch.zeros(b, t, 1, h, w, device=x0.device)
    m[:, 0] = 1
    m[:, -1] = (torch.rand(b, device=x0.device) < 0.9).float()[:, None, None, None]
    return torch.cat([x0 * m, m], 2)


# ---- training ----

class Step:
    """One optimiser step of n clips of o["size"] pixels, as a CUDA graph; on the CPU, and where there can be no graph, as it stands."""

    def __init__(self, run, o, n):
        self.run, self.o, self.n, self.graph = run, o, n, None
        self.item = torch.arange(n, device=DEVICE)
        self.loss, self.norm = (torch.zeros((), device=DEVICE) for _ in range(2))
        if not CUDA:
            return
        before = [z.clone() for z in run.state()]
        try:
            self.capture()
        except RuntimeError as e:
            torch.cuda.synchronize()
            print(f"  no CUDA graph, steps are launched one by one: {str(e).splitlines()[0]}", flush=True)
            self.graph = None
        self.forget()
        for z, kept in zip(run.state(), before):        # the steps that prepare kernels count for nothing
            z.copy_(kept)

    def capture(self):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.forget()
                self.work()
        torch.cuda.current_stream().wait_stream(stream)
        self.forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.work()
        self.graph = graph

    def forget(self):
        for p in self.run.parameters:
            p.grad = None

    def __call__(self):
        if self.graph:
            self.graph.replay()
        else:
            self.forget()
            self.work()

    def batch(self):
        o, n, run = self.o, self.n, self.run
        level = cond = None
        with torch.no_grad():
            purposes = philox.DATA, philox.MOMENT, philox.DROPOUT, philox.TIME, philox.CONDITION
            *draws, times, conditions = philox.streams(o["seed"], purposes, self.item, run.step)
            x0, moment, ids, mask = run.sprites.draw(n, o, *draws)
            text = run.captions.encode(ids, mask)
            t = (2 / math.pi * torch.atan(o["time_shift"] * torch.tan(math.pi / 2 * times.uniform()))).float()
            if o["stage"] == "video":
                cond = ends_condition(x0) if o.get("ends") else random_condition(x0, o["condition_share"], conditions)
            if o["stage"] == "ssr":
                level = (torch.rand(n, device=DEVICE) * 2 - 1).clamp(min=0) * 0.1
                al, si = (z[:, None, None, None, None] for z in alpha_sigma(level))
                low = F.avg_pool2d(x0.flatten(0, 1), 4).unflatten(0, x0.shape[:2])
                low = (al * low + si * torch.randn_like(low)).flatten(0, 1)
                low = F.interpolate(low, scale_factor=4, mode="bilinear", align_corners=False).reshape(x0.shape)
                crop, s = o["crop"], x0.shape[-1]
                y, x = (16 * (torch.rand(n, device=DEVICE) * ((s - crop) // 16 + 1)).long() for _ in "yx")
                at = torch.arange(crop, device=DEVICE)
                rows, columns = (y[:, None] + at)[:, None, None, :, None], (x[:, None] + at)[:, None, None, None, :]
                b, f, c = (torch.arange(k, device=DEVICE).reshape(shape) for k, shape in ((n, (-1, 1, 1, 1, 1)), (x0.shape[1], (-1, 1, 1, 1)), (3, (-1, 1, 1))))
                x0, cond = x0[b, f, c, rows, columns], low[b, f, c, rows, columns]
                x0 = run.net.cfg.residual_scale * (x0 - cond / al)
            frames, side = x0.shape[1], x0.shape[-1]
            noise = run.noise(o["seed"], philox.NOISE, self.item, frames, 3 * side * side, run.step).reshape(n, frames, side, side, 3).permute(0, 1, 4, 2, 3)
            xt, v = v_target(x0, noise, t)
        return xt, v, cond, t, text, mask, level, moment

    def work(self):
        run = self.run
        xt, v, cond, t, text, mask, level, moment = self.batch()
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=CUDA):
            out = forward(run.net, xt, cond, t, text, mask, level, moment)
        loss = F.mse_loss(out.float(), v)
        loss.backward()
        self.norm.copy_(run.optimiser.step(run.schedule))
        torch._foreach_mul_(run.average, run.decay)
        torch._foreach_add_(run.average, torch._foreach_mul([p.detach() for p in run.parameters], 1 - run.decay))
        run.step += 1
        self.loss.copy_(loss.detach())


DEFAULTS = {"seed": 0, "learning_rate": 1e-3, "warmup": 200, "cooldown": 0.2, "average": 0.9995, "stride": 1, "any_start": True, "motion_share": 0.5,
            "motion_caption_share": 0.0, "moment_share": 0.0, "wording_share": 0.0, "caption_share": 0.0, "plain_share": 0.0, "color_share": 0.5, "caption_dropout": 0.1,
            "time_shift": 1.0, "condition_share": 1.0, "checkpoint_seconds": 120, "log_every": 20}
CONFIG = ("in_channels", "cond_channels", "out_channels", "patch", "channels", "res_blocks", "attention", "head_dim", "groups", "text_width", "embed_width",
          "noise_level_cond", "moment_cond", "residual_scale", "video", "temporal_down", "temporal_attention_blocks", "max_frames")    # the program's order
stopped = False


def stop(*_):
    """A handler of signals: the step under way is the last, and a checkpoint is written."""
    global stopped
    stopped = True


class Run:
    def __init__(self, spec, captions, sprites):
        self.spec = spec = {**DEFAULTS, "frames": {"image": 1, "ssr": 16, "video": MOMENTS}[spec["stage"]], **spec}
        self.captions, self.sprites = captions, sprites
        self.net = self.born(spec).to(DEVICE).to(memory_format=torch.channels_last)
        if spec["stage"] == "video":
            for k, p in self.net.named_parameters():
                p.requires_grad_("temporal" in k or k.startswith("cond_in"))
        self.named = {k: p for k, p in self.net.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        self.average = [p.detach().clone(memory_format=torch.preserve_format) for p in self.parameters]
        self.schedule, self.decay = (torch.zeros((), device=DEVICE) for _ in range(2))
        self.step = torch.zeros((), dtype=torch.long, device=DEVICE)
        self.optimiser = Optimiser(self.named, spec)
        self.noise = philox.normal_by_kernel if CUDA and philox.kernel_agrees(DEVICE) else philox.normal
        self.done = self.seen = 0
        self.used, self.mean, self.lines = 0.0, None, []
        total = sum(p.numel() for p in self.net.parameters())
        print(f"{spec['name']}: {total / 1e6:.2f} M parameters, {sum(p.numel() for p in self.parameters) / 1e6:.2f} M trained, of which "
              f"{sum(m.momentum.numel() for m in self.optimiser.muon) / 1e6:.2f} M by Muon", flush=True)
        if os.path.exists(self.path("checkpoint.safetensors")):
            self.resume()

    def path(self, name):
        return os.path.join(self.spec["out"], name)

    def state(self):
        """All tensors that a step changes."""
        return [*(p.detach() for p in self.parameters), *self.average, self.step, *self.optimiser.state()]

    @staticmethod
    def born(spec):
        over = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.get("config", {}).items()}
        video, moments = spec["stage"] == "video", {"moment_cond": True} if spec["stage"] == "image" and spec["moment_share"] > 0 else {}
        if not spec.get("init"):
            net = UNet(replace(SSR if spec["stage"] == "ssr" else UNetConfig(), **{**moments, **over}))
            philox.be_born(net, spec["seed"])
            return net
        cfg, state = read_model(spec["init"])
        if spec["stage"] == "image":        # the image layers alone
            cfg = replace(cfg, video=False, cond_channels=0, **moments)
            state = {k: v for k, v in state.items() if "temporal" not in k and not k.startswith("cond_in")}
        if video and (not cfg.video or over):
            cfg = replace(cfg, **{"video": True, "cond_channels": 4, "max_frames": MOMENTS, **over})
            state = {k: v for k, v in state.items() if "temporal" not in k and not k.startswith("cond_in")}
        net = UNet(cfg)
        missing, unexpected = net.load_state_dict(state, strict=False)
        if unexpected or any(not k.startswith("moment_mlp") and not (video and ("temporal" in k or k.startswith("cond_in"))) for k in missing):
            sys.exit(f"{spec['init']} has too few or too many tensors: {[*missing, *unexpected][:3]}")
        philox.be_born(net, spec["seed"], missing)
        return net

    def left(self):
        """Share of the run that is to come."""
        unit = "steps" if "steps" in self.spec["phases"][0] else "seconds"
        return 1 - (self.done if unit == "steps" else self.used) / sum(p[unit] for p in self.spec["phases"])

    def train(self, deadline=math.inf, halt=math.inf, saved=None):
        """Goes on until the run's end (True), or until `deadline` by time.time(), `halt` steps or a signal. saved(): after every checkpoint."""
        halt, end = self.done + halt, 0
        for phase in self.spec["phases"]:
            unit = "steps" if "steps" in phase else "seconds"
            end += phase[unit]
            if (self.done if unit == "steps" else self.used) >= end:
                continue
            if not self.train_phase({**self.spec, **phase}, unit, end, deadline, halt, saved):
                self.save(saved)
                return False
        self.save(saved, ended=True)
        return True

    def train_phase(self, o, unit, end, deadline, halt, saved):
        begun = time.time()
        steps = [(Step(self, {**o, "size": size}, n), share) for size, n, share in o["sizes"]]
        order = [s for s, share in steps for _ in range(share)]
        if CUDA:
            torch.cuda.synchronize()
            print(f"  ready after {time.time() - begun:.1f} s, {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB", flush=True)
        start, said, kept, used, first, ended = time.time(), time.time(), time.time(), self.used, self.seen, False
        while not ended and not stopped and self.done < halt and time.time() < deadline:
            left = self.left()
            cool = left / o["cooldown"] if o["cooldown"] > 0 else 1
            self.schedule.fill_(max(0.0, min(1.0, (self.done + 1) / o["warmup"], cool)))
            self.decay.fill_(min(o["average"], (2 + self.done) / (11 + self.done)))
            step = order[self.done % len(order)]
            step()
            self.done, self.seen = self.done + 1, self.seen + step.n
            if CUDA and self.done % 20 == 0:
                torch.cuda.synchronize()        # else the host runs ahead of the clock
            self.used = used + time.time() - start
            if self.done % o["log_every"] == 0:
                self.log(step)
            ended = (self.done if unit == "steps" else self.used) >= end
            if time.time() - said > 20:
                said = time.time()
                print(f"  {self.done} steps, {self.seen} samples, {(self.seen - first) / (said - start):.0f}/s, loss {self.mean or 0:.4f}", flush=True)
            if time.time() - kept > o["checkpoint_seconds"]:
                self.save(saved)
                kept = time.time()
                self.used = used + time.time() - start
        rate = (self.seen - first) / max(time.time() - start, 1e-9)
        print(f"  phase {o['sizes']}: {self.done} steps, {self.seen} samples, {rate:.0f}/s, loss {self.mean or 0:.4f}", flush=True)
        del steps, order
        if CUDA:
            torch.cuda.empty_cache()
        return ended

    def log(self, step):
        value, norm = float(step.loss), float(step.norm)
        if not math.isfinite(value + norm):
            sys.exit(f"{self.spec['name']}: loss {value}, gradient {norm} at step {self.done}; the last checkpoint stays")
        self.mean = value if self.mean is None else 0.95 * self.mean + 0.05 * value
        self.lines.append(f"{self.done},{self.seen},{self.used:.1f},{self.mean:.6f},{self.spec['learning_rate'] * float(self.schedule):.6g},{norm:.4g}")

    def averaged(self):
        return {**self.net.state_dict(), **dict(zip(self.named, self.average))}

    def save(self, saved=None, ended=False):
        if not self.done:
            return
        os.makedirs(self.spec["out"], exist_ok=True)
        config = config_text(self.net.cfg)
        tensors = {**{"weights/" + k: v for k, v in self.net.state_dict().items()}, **{"average/" + k: v for k, v in self.averaged().items()},
                   **self.optimiser.save()}
        if any(not bool(torch.isfinite(v).all()) for v in tensors.values()):
            sys.exit(f"{self.spec['name']}: not all weights are finite at step {self.done}; the last checkpoint stays")
        facts = {"step": self.done, "skipped": 0, "loss_mean": float(self.mean or 0).hex(), "seconds": self.used.hex(), "stage": self.spec["stage"],
                 "config": config, "skipped_in_row": 0, "samples": self.seen, "ended": int(ended)}
        write_text(self.path("metrics.csv"), "\n".join(["step,samples,seconds,loss,learning_rate,gradient_norm", *self.lines]) + "\n")
        write_text(self.path("config.json"), config)
        write_safetensors(self.path("model.safetensors"), {k: v.half() for k, v in self.averaged().items()}, {"stage": self.spec["stage"], "step": self.done})
        write_safetensors(self.path("checkpoint.safetensors"), {k: v.float() for k, v in tensors.items()}, facts)
        if saved:
            saved(self.spec)

    @torch.no_grad()
    def resume(self):
        facts, state = read_safetensors(self.path("checkpoint.safetensors"))
        for k, v in self.net.state_dict().items():
            v.copy_(state["weights/" + k])
        for k, a in zip(self.named, self.average):
            a.copy_(state["average/" + k])
        self.optimiser.load(state)
        self.done, self.used, self.seen = int(facts["step"]), float.fromhex(facts["seconds"]), int(facts.get("samples", 0))
        self.mean = float.fromhex(facts["loss_mean"]) or None
        self.step.fill_(self.done)
        self.optimiser.updates.fill_(self.done - int(facts["skipped"]))
        with open(self.path("metrics.csv")) as f:
            self.lines = [r for r in f.read().split("\n")[1:] if r and int(r.split(",")[0]) <= self.done]
        print(f"  goes on at step {self.done}, {self.used:.0f} s", flush=True)

    @torch.no_grad()
    def sheet(self, path, size, rows, steps=20, guidance=4.0):
        """The averaged weights' pictures. rows: numbers of the text file's prompts; one row a prompt, ten frames."""
        z, n, net = self.captions.z, len(rows), self.net
        weights = [p.detach().clone() for p in self.parameters]
        for p, a in zip(self.parameters, self.average):
            p.copy_(a)
        frames = self.spec["frames"] if net.cfg.video else 1
        ids = z["prompt_ids"][rows]
        mask = torch.arange(LENGTH, device=DEVICE)[None] < z["prompt_length"][rows][:, None]
        empty = self.captions.join([(ids, torch.zeros(n, dtype=torch.long, device=DEVICE))])
        text, none = self.captions.encode(ids, mask), self.captions.encode(*empty)
        cond = torch.zeros(n, frames, 4, size, size, device=DEVICE) if net.cfg.cond_channels else None
        moment = torch.arange(frames, device=DEVICE).expand(n, -1) / (frames - 1) if frames > 1 else torch.full((n, 1), UNKNOWN, device=DEVICE)

        def v(x, t):
            with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=CUDA):
                c, u = (forward(net, x, cond, t, *words, None, moment) for words in ((text, mask), (none, empty[1])))
            return (u + guidance * (c - u)).float()
        g = torch.Generator().manual_seed(0)
        x = ddim(v, torch.randn(n, frames, 3, size, size, generator=g).to(DEVICE), steps)
        for p, w in zip(self.parameters, weights):
            p.copy_(w)
        pick = [round(k * (frames - 1) / 9) for k in range(10)] if frames > 1 else [0]
        x = ((x[:, pick].clamp(-1, 1) + 1) * 127.5).byte().cpu()
        if frames == 1:
            x = x.reshape(-1, 10, 3, size, size) if n % 10 == 0 else x.transpose(0, 1)
        from PIL import Image
        Image.fromarray(x.permute(0, 3, 1, 4, 2).reshape(x.shape[0] * size, -1, 3).numpy()).save(path)


def config_text(cfg):
    given = asdict(cfg)
    return json.dumps({k: given[k] for k in CONFIG if k != "moment_cond" or given[k]}, indent=1)


def read_safetensors(path):
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        head, data = json.loads(f.read(size)), f.read()
    kinds = {"F16": np.float16, "F32": np.float32}
    facts, state = head.pop("__metadata__", {}), {}
    for k, v in head.items():
        a, b = v["data_offsets"]
        state[k] = torch.from_numpy(np.frombuffer(data[a:b], kinds[v["dtype"]]).astype(np.float32).reshape(v["shape"]))
    return facts, state


def read_model(folder):
    with open(os.path.join(folder, "config.json")) as f:
        cfg = {k: tuple(v) if isinstance(v, list) else v for k, v in json.load(f).items()}
    return UNetConfig(**cfg), read_safetensors(os.path.join(folder, "model.safetensors"))[1]


def write_text(path, text):
    with open(path + ".part", "w") as f:
        f.write(text)
    os.replace(path + ".part", path)


def write_safetensors(path, tensors, facts):
    header, offset, blobs = {"__metadata__": {k: str(v) for k, v in facts.items()}}, 0, []
    for k, v in sorted(tensors.items()):
        raw = v.detach().cpu().contiguous().numpy().tobytes()
        header[k] = {"dtype": {torch.float16: "F16", torch.float32: "F32"}[v.dtype], "shape": list(v.shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        blobs.append(raw)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path + ".part", "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        f.writelines(blobs)
    os.replace(path + ".part", path)


def ended(folder):
    """Has the run in this folder come to its end?"""
    path = os.path.join(folder, "checkpoint.safetensors")
    if not os.path.exists(path):
        return False
    with open(path, "rb") as f:
        return json.loads(f.read(int.from_bytes(f.read(8), "little")))["__metadata__"].get("ended") == "1"


def train_stages(runs, deadline=math.inf, halt=math.inf, saved=None):
    """The stages of one file, those that ended left out. False: stopped before the last one's end."""
    if CUDA:
        torch.backends.cudnn.benchmark = runs.get("benchmark", True)
        torch.backends.cudnn.benchmark_limit = 4
        torch.backends.cuda.enable_cudnn_sdp(False)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    captions, banks = None, {}
    for spec in runs["stages"]:
        if ended(spec["out"]):
            continue
        captions = captions or Captions(runs["text"])
        if spec["data"] not in banks:
            kept = os.path.join(runs["frames"], os.path.basename(spec["data"]) + ".npy") if "frames" in runs else None
            banks[spec["data"]] = Sprites(spec["data"], captions, runs.get("thin", 1), kept)
        run = Run(spec, captions, banks[spec["data"]])
        if not run.train(deadline, halt, saved):
            print(f"{spec['name']}: stopped after {run.done} steps", flush=True)
            return False
        for size in spec.get("sheets", []):
            rows = list(range(min(20, spec.get("sheet_rows", 20))))
            run.sheet(os.path.join(spec["out"], f"sheet-{size}.png"), size, rows, spec.get("sheet_steps", 20), spec.get("guidance", 4.0))
        if saved:
            saved(run.spec)
        print(f"{spec['name']} done", flush=True)
        del run
        if CUDA:
            torch.cuda.empty_cache()
    return True


def main():
    with open(sys.argv[1]) as f:
        sys.exit(0 if train_stages(json.load(f)) else 1)


if __name__ == "__main__":
    main()
