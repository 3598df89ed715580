"""How the weights of version 0.3 were trained on one NVIDIA H100: the specification's trainer in PyTorch, without work on the host.

    python3 models/emoji/training/train_gpu.py RUNS.json        needs torch (CUDA, Triton), numpy, Pillow, OpenCV

RUNS.json (gpu-image.json, gpu-video.json ... beside this file): {"text": FILE.npz, "stages": [...]}; pack_captions.py makes the text file. A stage:
name, stage (image, video, ssr), data (folder of shards), init (folder), out, config, phases. A phase trains for `seconds` on `sizes`
[[pixels, batch, share of the steps], ...]. Other keys are those of docs/training.md (`told_share`: motion_caption_share).

Sprites, captions, conditions and noise are drawn, rendered and encoded on the GPU; these, forward, backward, AdamW and the moving average are one
CUDA graph for each size. Frames are channels-last, so that folding time into the batch is free. check_train_gpu.py compares with stunet.py.
"""
import json
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "..", "tests", "oracle"))
from stunet import UNet, UNetConfig, alpha_sigma, ddim, fourier, inflate, v_target  # noqa: E402

SSR = UNetConfig(cond_channels=3, patch=4, channels=(64, 96, 160), attention=(False,) * 3, noise_level_cond=True, residual_scale=8,
                 video=True, temporal_down=(False, False), temporal_attention_blocks=1, max_frames=16)
COLORS = [(255, 255, 255), (20, 20, 20), (128, 128, 128), (220, 50, 50), (245, 150, 50), (250, 220, 80), (70, 170, 80), (60, 110, 220),
          (150, 205, 250), (140, 80, 190), (250, 160, 195), (130, 85, 55), (40, 150, 150)]
LENGTH = 32     # text tokens
MOMENTS = 80
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") else "cuda"       # the interpreter: for check_train_gpu.py


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


def forward(net, x, cond, t, text, mask, level=None):
    """stunet.UNet.forward; x (B,T,C,H,W), cond likewise, -> v (B,T,C,H,W)."""
    b, frames = x.shape[:2]
    cfg = net.cfg
    last = torch.channels_last

    def stem(z):
        return F.pixel_unshuffle(z.flatten(0, 1), cfg.patch).contiguous(memory_format=last)
    pooled = (text * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    emb = net.time_mlp(fourier(t, cfg.channels[0] * 4)) + net.text_pool(pooled)
    if level is not None:
        emb = emb + net.noise_mlp(fourier(level, cfg.channels[0] * 4))
    emb = F.silu(emb)
    h = net.conv_in(stem(x))
    if cond is not None:
        h = h + net.cond_in(stem(cond))
    skips = []
    for level in net.down:
        for j, res in enumerate(level["res"]):
            h = res_block(res, h, emb)
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
            h = res_block(res, torch.cat([h, skips.pop()], 1), emb)
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
        self.bert = {k: (v.float() * self.z[k + ".scale"][:, None] if k + ".scale" in self.z else v).to(torch.float16 if DEVICE == "cuda" else torch.float32)
                     for k, v in self.z.items() if "." in k and not k.endswith(".scale")}
        self.subjects = json.loads(bytes(self.z["records"].cpu().numpy()).decode())
        self.comma, self.cls, self.sep = (int(self.z["special"][i]) for i in range(3))

    def join(self, parts):
        """parts: pairs of ids (N,K) and lengths (N,) -> ids (N,LENGTH), mask"""
        n = len(parts[0][1])
        at = torch.arange(LENGTH, device=DEVICE).expand(n, -1)
        ids, start = torch.where(at == 0, self.cls, 0), torch.ones(n, dtype=torch.long, device=DEVICE)
        for words, length in parts:
            inner = at - start[:, None]
            here = (inner >= 0) & (inner < length[:, None])
            ids = torch.where(here, words.gather(1, inner.clamp(0, words.shape[1] - 1)), ids)
            start = start + length
        end = start.clamp(max=LENGTH - 1)[:, None]
        return torch.where(at == end, self.sep, torch.where(at > end, 0, ids)), at <= end

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


def read_record(task):
    record, parts = task
    if "webm" in parts:
        import tempfile
        import cv2
        with tempfile.NamedTemporaryFile(suffix=".webm") as f:
            f.write(parts["webm"])
            f.flush()
            video, frames = cv2.VideoCapture(f.name), []
            while True:
                ok, picture = video.read()
                if not ok:
                    break
                frames.append(picture[:, :, ::-1])
        v = np.stack(frames)
        s = v.shape[2]
        return np.ascontiguousarray(np.concatenate([v[:, :s], v[:, s:, :, :1]], -1))      # (T,S,S,4)
    import io
    from PIL import Image
    s = record["size"]
    i = record["styles"].index("3d")
    x = np.asarray(Image.open(io.BytesIO(parts["webp"])).convert("RGBA")).astype(np.float32)[:, i * s:(i + 1) * s].copy()
    x[..., :3] *= x[..., 3:] / 255
    return (x + 0.5).astype(np.uint8)[None]


def read_shards(folder):
    """-> [(record, its files)] of the training part, in the order that pack_captions.py numbers."""
    import glob
    import tarfile
    found = []
    for shard in sorted(glob.glob(os.path.join(folder, "*.tar"))):
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


class Sprites:
    def __init__(self, folder, captions):
        records = read_shards(folder)
        with ProcessPoolExecutor(min(15, os.cpu_count())) as pool:
            frames = list(pool.map(read_record, records, chunksize=8))
        counts = np.array([len(f) for f in frames])
        self.side = frames[0].shape[1]
        bank = torch.from_numpy(np.concatenate(frames)).to(DEVICE)
        levels = [bank] + [torch.cat([F.avg_pool2d(z.float().permute(0, 3, 1, 2), f).round().byte().permute(0, 2, 3, 1) for z in bank.split(512)])
                           for f in (2, 4)]
        self.bank = torch.cat([z.contiguous().view(torch.int32).flatten() for z in levels])
        self.level_base = torch.tensor(np.cumsum([0] + [z.numel() // 4 for z in levels[:2]]), device=DEVICE)
        self.count = torch.from_numpy(counts).to(DEVICE)
        self.start = torch.from_numpy(np.cumsum([0, *counts[:-1]])).to(DEVICE)
        self.animated = (self.count > 1).nonzero()[:, 0]
        self.captions = captions
        where = {k: i for i, k in enumerate(captions.subjects)}
        self.entry = torch.tensor([where[r["key"]] for r, _ in records], device=DEVICE)
        self.motions, self.colors = motion_table(), torch.tensor(COLORS, dtype=torch.float32, device=DEVICE) / 255
        print(f"{folder}: {len(records)} sprites, {len(self.animated)} animated, {len(bank)} frames", flush=True)

    def render(self, frame, theta, scale, back, size):
        """frame (N,) of the bank, theta (N,2,3), scale (N,), back (N,3) -> (N,3,size,size) in [-1,1], channels-last"""
        level = (scale < 0.7).long() + (scale < 0.35).long()
        side = self.side >> level
        base = self.level_base[level] + frame * side * side
        s = self.side
        out = torch.empty(len(frame), s, s, 3, device=DEVICE)
        render_kernel[(len(frame), triton.cdiv(s * s, 1024))](self.bank, base, side, theta.contiguous(), back.contiguous(), out, s, 1024, num_warps=4)
        x = out.permute(0, 3, 1, 2)
        return x if size == s else F.avg_pool2d(x, s // size)

    def draw(self, n, o):
        """-> x0 (n,frames,3,S,S), text ids (n,LENGTH), mask. o: frames, stride, size, motion_share, told_share, color_share, dropout"""
        def rand():
            return torch.rand(n, device=DEVICE)

        def below(count):
            return (rand() * count).long().clamp(max=count - 1) if isinstance(count, int) else torch.minimum((rand() * count).long(), count - 1)
        frames, z = o["frames"], self.captions.z
        i = torch.where((rand() < 0.7) & (frames > 1), self.animated[below(len(self.animated))], below(len(self.count)))
        count = self.count[i]
        moved = (rand() < o["motion_share"]) | ((count == 1) & (frames > 1))
        motion = torch.where(moved, 1 + below(len(self.motions) - 1), 0)
        color = torch.where(rand() < o["color_share"], 1 + below(len(COLORS) - 1), 0)
        span = (frames - 1) * o["stride"] + 1
        first = below(MOMENTS - span + 1) * o["any_start"]
        told = moved if frames > 1 else moved & (rand() < o["told_share"])
        if frames == 1:
            first = torch.where(told, (MOMENTS * rand() ** 2).long().clamp(max=MOMENTS - 1), first)
        moment = first[:, None] + torch.arange(frames, device=DEVICE) * o["stride"]
        sprite = self.start[i][:, None] + (torch.where(moved, 0, below(count))[:, None] + moment) % count[:, None]
        x, y, k, turns = self.motions[motion[:, None], moment].unbind(-1)
        back = self.colors[color][:, None].expand(-1, frames, -1).flatten(0, 1)
        x0 = self.render(sprite.flatten(), theta_of(x, y, k, turns).flatten(0, 1), k.flatten(), back, o["size"])

        e = self.entry[i]
        variant = z["variant_start"][e] + below(z["variant_count"][e])
        own = (motion == 0) & (count > 1) & (z["own_motion"][e] >= 0) & (rand() < 0.5) & ~z["says_motion"][variant].bool()
        phrase = torch.where(told, motion, torch.where(own, z["own_motion"][e], 0))        # 0: nothing
        say_color = (color > 0) | (rand() < 0.3)
        heard = rand() >= o["dropout"]
        ids, mask = self.captions.join([(z["variant_ids"][variant], z["variant_length"][variant] * heard),
                                        (z["phrase_ids"][phrase], z["phrase_length"][phrase] * heard),
                                        (z["color_ids"][color], z["color_length"][color] * (heard & say_color))])
        return x0.reshape(n, frames, 3, o["size"], o["size"]), ids, mask


def random_condition(x0, share):
    """Lumiere's conditioning pair (see random_condition of the specification), all clips at once: (B,T,4,H,W)."""
    b, t, _, h, w = x0.shape
    dev = x0.device

    def below(count):
        k = (torch.rand(b, device=dev) * count).long()
        return k.clamp(max=count - 1) if isinstance(count, int) else torch.minimum(k, count - 1)

    def span(size):
        length = size // 8 + below(size - size // 8 + 1)
        return below(size - length + 1), length
    kind = below(9)                                                     # 0 and 1: nothing is given, 2 and 3: the first frame
    kind = torch.where(kind < 4, kind // 2, kind - 2) * (torch.rand(b, device=dev) < share)
    (y, bh), (x, bw), (y1, _), (x1, _) = span(h), span(w), span(h), span(w)
    rows = torch.rand(b, device=dev) < 0.5
    p = torch.linspace(0, 1, t, device=dev)[None]
    drift = kind == 5
    top = y[:, None] + torch.where(drift[:, None], (p * (y1 - y)[:, None]).round(), 0)
    left = x[:, None] + torch.where(drift[:, None], (p * (x1 - x)[:, None]).round(), 0)
    bottom, right = top + bh[:, None], left + bw[:, None]
    band = kind == 4
    left, right = torch.where((band & rows)[:, None], 0, left), torch.where((band & rows)[:, None], w, right)
    top, bottom = torch.where((band & ~rows)[:, None], 0, top), torch.where((band & ~rows)[:, None], h, bottom)
    moved = ((x0 - x0[:, :1]).abs().amax((1, 2)) > 0.1)                                    # (B,H,W)
    ys, xs = torch.arange(h, device=dev), torch.arange(w, device=dev)
    in_rows, in_columns = moved.any(2), moved.any(1)
    some, cine = in_rows.any(1), kind == 6

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
    """One optimiser step of n clips of o["size"] pixels, as a CUDA graph."""

    def __init__(self, run, o, n):
        self.run, self.o, self.n = run, o, n
        self.loss = torch.zeros((), device=DEVICE)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                run.optimiser.zero_grad(set_to_none=True)
                self.work(apply=False)
        torch.cuda.current_stream().wait_stream(stream)
        run.optimiser.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.work(apply=True)
        run.optimiser.zero_grad(set_to_none=True)

    def batch(self):
        o, n = self.o, self.n
        level = cond = None
        with torch.no_grad():
            x0, ids, mask = self.run.sprites.draw(n, o)
            text = self.run.captions.encode(ids, mask)
            t = 2 / math.pi * torch.atan(o["time_shift"] * torch.tan(math.pi / 2 * torch.rand(n, device=DEVICE)))
            if o["stage"] == "video":
                cond = ends_condition(x0) if o.get("ends") else random_condition(x0, o["condition_share"])
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
                x0 = self.run.net.cfg.residual_scale * (x0 - cond / al)
            xt, v = v_target(x0, torch.randn_like(x0), t)
        return xt, v, cond, t, text, mask, level

    def work(self, apply):
        run = self.run
        xt, v, cond, t, text, mask, level = self.batch()
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            out = forward(run.net, xt, cond, t, text, mask, level)
        loss = F.mse_loss(out.float(), v)
        loss.backward()
        if not apply:
            return
        torch.nn.utils.clip_grad_norm_(run.parameters, 1.0)
        run.optimiser.step()
        torch._foreach_mul_(run.average, run.decay)
        torch._foreach_add_(run.average, torch._foreach_mul(run.parameters, 1 - run.decay))
        self.loss.copy_(loss.detach())


def clip_defaults(stage):
    return {"frames": 1 if stage == "image" else 16 if stage == "ssr" else MOMENTS, "stride": 1, "motion_share": 0.5, "told_share": 0.8, "color_share": 0.5,
            "dropout": 0.1, "time_shift": 1.0, "condition_share": 0.7, "any_start": True}


class Run:
    def __init__(self, spec, captions, sprites):
        self.spec, self.captions, self.sprites = spec, captions, sprites
        self.net = self.born(spec).to(DEVICE).to(memory_format=torch.channels_last)
        if spec["stage"] == "video":
            for k, p in self.net.named_parameters():
                p.requires_grad_("temporal" in k or k.startswith("cond_in"))
        self.parameters = [p for p in self.net.parameters() if p.requires_grad]
        self.average = [p.detach().clone(memory_format=torch.preserve_format) for p in self.parameters]
        self.rate = torch.zeros((), device=DEVICE)
        self.decay = torch.zeros((), device=DEVICE)
        self.optimiser = torch.optim.AdamW(self.parameters, lr=self.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True, capturable=True)
        for p in self.parameters:       # moments must exist before a graph is captured
            p.grad = torch.zeros_like(p)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        total = sum(p.numel() for p in self.net.parameters())
        print(f"{spec['name']}: {total / 1e6:.2f} M parameters, {sum(p.numel() for p in self.parameters) / 1e6:.2f} M trained", flush=True)

    @staticmethod
    def born(spec):
        over = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.get("config", {}).items()}
        if not spec.get("init"):
            torch.manual_seed(spec.get("seed", 0))
            return UNet(replace(SSR if spec["stage"] == "ssr" else UNetConfig(), **over))
        given = load(spec["init"])
        if spec["stage"] == "video" and (not given.cfg.video or over):
            image = UNet(replace(given.cfg, video=False, cond_channels=0))
            image.load_state_dict({k: v for k, v in given.state_dict().items() if "temporal" not in k and not k.startswith("cond_in")})
            return inflate(image, **{"cond_channels": 4, "max_frames": MOMENTS, **over})
        return given

    def train(self):
        spec, begun, done, seen, lines = self.spec, time.time(), 0, 0, []
        total = sum(p["seconds"] for p in spec["phases"])
        used = 0.0
        for phase in spec["phases"]:
            o = {**clip_defaults(spec["stage"]), "stage": spec["stage"], **spec, **phase}
            steps = [(Step(self, {**o, "size": size}, n), share) for size, n, share in phase["sizes"]]
            order = [s for s, share in steps for _ in range(share)]
            torch.cuda.synchronize()
            start = last = time.time()
            print(f"  ready after {start - begun:.1f} s, {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB", flush=True)
            mean, local = None, 0
            while True:
                now = time.time()
                if now - start >= phase["seconds"]:
                    break
                left = 1 - (used + now - start) / total
                self.rate.fill_(o.get("learning_rate", 1e-3) * min(1.0, (done + 1) / spec.get("warmup", 100), max(left, 0.0) / spec["cooldown"]))
                self.decay.fill_(min(spec.get("average", 0.999), (1 + done) / (10 + done)))
                step = order[done % len(order)]
                step.graph.replay()
                done, seen, local = done + 1, seen + step.n, local + step.n
                if done % 20 == 0:
                    torch.cuda.synchronize()
                    value = float(step.loss)
                    if not math.isfinite(value):
                        sys.exit(f"{spec['name']}: loss {value} at step {done}")
                    mean = value if mean is None else 0.95 * mean + 0.05 * value
                    lines.append(f"{done},{seen},{used + time.time() - start:.1f},{mean:.6f},{float(self.rate):.6g}")
                if time.time() - last > 20:
                    last = time.time()
                    print(f"  {done} steps, {seen} samples, {local / (last - start):.0f}/s, loss {mean:.4f}", flush=True)
            used += time.time() - start
            print(f"  phase {phase['sizes']}: {done} steps, {seen} samples, {local / (time.time() - start):.0f}/s, loss {mean:.4f}", flush=True)
            del steps, order, step
            torch.cuda.empty_cache()
        self.save(lines)

    def save(self, lines):
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average):
                p.copy_(a)
        folder = self.spec["out"]
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "metrics.csv"), "w") as f:
            f.write("\n".join(["step,samples,seconds,loss,learning_rate", *lines]) + "\n")
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(asdict(self.net.cfg), f, indent=1)
        write_safetensors(os.path.join(folder, "model.safetensors"), {k: v.half().cpu() for k, v in self.net.state_dict().items()})

    @torch.no_grad()
    def sheet(self, path, size, rows, steps=20, guidance=4.0):
        """rows: list of token pairs from the text file's prompts; one row a prompt, ten frames."""
        z, n = self.captions.z, len(rows)
        frames = clip_defaults(self.spec["stage"])["frames"] if not self.net.cfg.video else min(self.net.cfg.max_frames, MOMENTS)
        ids = z["prompt_ids"][rows]
        mask = torch.arange(LENGTH, device=DEVICE)[None] < z["prompt_length"][rows][:, None]
        empty = self.captions.join([(ids, torch.zeros(n, dtype=torch.long, device=DEVICE))])
        text, none = self.captions.encode(ids, mask), self.captions.encode(*empty)
        cond = torch.zeros(n, frames, 4, size, size, device=DEVICE) if self.net.cfg.cond_channels else None

        def v(x, t):
            with torch.autocast(DEVICE, dtype=torch.bfloat16):
                c, u = forward(self.net, x, cond, t, text, mask), forward(self.net, x, cond, t, none, empty[1])
            return (u + guidance * (c - u)).float()
        g = torch.Generator().manual_seed(0)
        x = ddim(v, torch.randn(n, frames, 3, size, size, generator=g).to(DEVICE), steps)
        pick = [round(k * (frames - 1) / 9) for k in range(10)] if frames > 1 else [0]
        x = ((x[:, pick].clamp(-1, 1) + 1) * 127.5).byte().cpu()
        if frames == 1:
            x = x.reshape(-1, 10, 3, size, size) if n % 10 == 0 else x.transpose(0, 1)
        from PIL import Image
        Image.fromarray(x.permute(0, 3, 1, 4, 2).reshape(x.shape[0] * size, -1, 3).numpy()).save(path)


def load(folder):
    cfg = {k: tuple(v) if isinstance(v, list) else v for k, v in json.load(open(os.path.join(folder, "config.json"))).items()}
    net = UNet(UNetConfig(**cfg))
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        head, data = json.loads(f.read(size)), f.read()
    kinds = {"F16": np.float16, "F32": np.float32}
    state = {}
    for k, v in head.items():
        if k != "__metadata__":
            a, b = v["data_offsets"]
            state[k] = torch.from_numpy(np.frombuffer(data[a:b], kinds[v["dtype"]]).astype(np.float32).reshape(v["shape"]))
    net.load_state_dict(state)
    return net


def write_safetensors(path, tensors):
    header, offset, blobs = {}, 0, []
    for k, v in sorted(tensors.items()):
        raw = v.contiguous().numpy().tobytes()
        header[k] = {"dtype": "F16", "shape": list(v.shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        blobs.append(raw)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        f.writelines(blobs)


def main():
    runs = json.load(open(sys.argv[1]))
    torch.backends.cudnn.benchmark = runs.get("benchmark", True)
    torch.backends.cudnn.benchmark_limit = 4
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(int(time.time()))
    captions, banks = Captions(runs["text"]), {}
    for spec in runs["stages"]:
        spec = {"cooldown": 0.3, **spec}
        if spec["data"] not in banks:
            banks[spec["data"]] = Sprites(spec["data"], captions)
        run = Run(spec, captions, banks[spec["data"]])
        run.train()
        for size in spec.get("sheets", []):
            run.sheet(os.path.join(spec["out"], f"sheet-{size}.png"), size, list(range(20)), guidance=spec.get("guidance", 4.0))
        print(f"{spec['name']} done", flush=True)
        del run
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
