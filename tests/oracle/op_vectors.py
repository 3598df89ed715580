"""Test vectors of the ops, computed by PyTorch in float64: tests/data/op_cases.txt and op_samples.bin.

A line of op_cases.txt: kind, seed, attributes (integers), outputs wanted (bit mask), then an operand each:
  a activation (bf16 in a bf16 run), w weight of a matrix product (fp32, rounded to bf16 in a bf16 run), p fp32 in every run,
  m mask of 0 and 1, k mask whose first entry in each row is 1, iV integers below V; then the shape. - is absent.
Operand j of a case is values(8 seed + j). op_samples.bin: for each case, once with fp32 operands and once with the a and w
ones rounded to bf16, the record() of each wanted output.

    python tests/oracle/op_vectors.py
"""
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

from formula import record, values

CASES = 52
rng = np.random.RandomState(20240123)
pick = lambda *a: a[rng.randint(len(a))]
between = lambda low, high: int(rng.randint(low, high + 1))
CHANNELS = (1, 2, 3, 5, 7, 8, 12, 16, 17, 24, 32, 33, 40, 48, 64, 67)


def clip(n):
    """B T H W: one pixel, one frame and odd sizes among them."""
    if n == 0:
        return [1, 1, 1, 1]
    if n == 1:
        return [1, 1, between(3, 9), between(3, 9)]
    if n == 2:
        return [2, between(3, 9), 1, 1]
    return [pick(1, 1, 2, 3), pick(1, 2, 3, 5, 8), pick(1, 2, 3, 4, 7, 8, 11), pick(1, 2, 3, 5, 8, 9, 16)]


def channels(n):
    return 16 if n == 0 else pick(*CHANNELS)


# ---- the ops in PyTorch. x is [B,T,H,W,C] as in the engine ----

def conv(x, w, b, axis, kernel, stride):
    n, t, h, ww, c = x.shape
    if axis == 0:
        y = F.conv2d(x.reshape(n * t, h, ww, c).permute(0, 3, 1, 2), w, b, stride=stride, padding=kernel // 2)
        return y.permute(0, 2, 3, 1).reshape(n, t, y.shape[2], y.shape[3], -1)
    y = F.conv1d(x.permute(0, 2, 3, 4, 1).reshape(n * h * ww, c, t), w, b, stride=stride, padding=kernel // 2)
    return y.reshape(n, h, ww, y.shape[1], y.shape[2]).permute(0, 4, 1, 2, 3)


def norm(x, gamma, beta, ss, groups, eps, silu, unit_scale=None, unit_shift=None):
    c = x.shape[-1]
    units = x.reshape(-1, x.shape[2] * x.shape[3], c) if x.dim() == 5 else x.reshape(-1, 1, c)
    xhat = F.group_norm(units.transpose(1, 2), groups, None, None, eps).transpose(1, 2)
    z = xhat * gamma + beta
    if ss is not None:
        each = units.shape[0] // ss.shape[0]
        z = z * (1 + ss[:, :c].repeat_interleave(each, 0)[:, None]) + ss[:, c:].repeat_interleave(each, 0)[:, None]
    if unit_scale is not None:      # zeros, there for their gradients
        z = z + unit_scale[:, None] * xhat + unit_shift[:, None]
    return (F.silu(z) if silu else z).reshape(x.shape)


def attention(qkv, text, mask, axis, heads):
    b, t, h, w, c3 = qkv.shape
    c = c3 // 3
    if axis == 0:
        x = qkv.reshape(b * t, h * w, c3)
    else:
        x = qkv.reshape(b, t, h * w, c3).transpose(1, 2).reshape(b * h * w, t, c3)
    q, k, v = x.chunk(3, dim=-1)
    keep = torch.ones(x.shape[0], x.shape[1], dtype=torch.bool)
    if text is not None:
        tk, tv = text.repeat_interleave(t, 0).chunk(2, dim=-1)
        k, v = torch.cat([k, tk], 1), torch.cat([v, tv], 1)
        more = torch.ones(b * t, text.shape[1], dtype=torch.bool) if mask is None else mask.repeat_interleave(t, 0) > 0.5
        keep = torch.cat([keep, more], 1)
    elif mask is not None:
        keep = mask.repeat_interleave(t, 0) > 0.5
    q, k, v = (z.reshape(z.shape[0], z.shape[1], heads, -1).transpose(1, 2) for z in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None, :]).transpose(1, 2).reshape(*x.shape[:2], c)
    if axis == 0:
        return y.reshape(b, t, h, w, c)
    return y.reshape(b, h * w, t, c).transpose(1, 2).reshape(b, t, h, w, c)


def upsample(x, time, space):
    for dim, k in ((1, time), (2, space), (3, space)):
        x = x.repeat_interleave(k, dim)
    return x


def shuffle(x, f, deeper):
    b, t, h, w, c = x.shape
    y = (F.pixel_unshuffle if deeper else F.pixel_shuffle)(x.reshape(b * t, h, w, c).permute(0, 3, 1, 2), f)
    return y.permute(0, 2, 3, 1).reshape(b, t, y.shape[2], y.shape[3], y.shape[1])


def fourier(t, width):
    freq = torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angle = 1000 * t[:, None] * freq
    return torch.cat([angle.sin(), angle.cos()], -1)


def masked_mean(x, mask):
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def grad(y, dy, of):
    return torch.autograd.grad(y, of, dy, allow_unused=True)


def leaf(*shape):
    return torch.zeros(*shape, dtype=torch.float64, requires_grad=True)


def plus(y, acc):
    return y if acc is None else y + acc


def affine_vjp(sums, ss, gamma, beta, of):
    """What a unit's gamma and beta come to after scale-shift, and the gradient of it under the cotangent sums."""
    each = sums.shape[0] // ss.shape[0]
    scale, shift = (z.repeat_interleave(each, 0) for z in ss.chunk(2, -1))
    return grad(torch.stack([beta * (1 + scale) + shift, gamma * (1 + scale)], 1), sums, of)


def norm_grad(x, gamma, beta, ss, dy, acc, groups, silu, eps):
    units = x.shape[0] * x.shape[1] if x.dim() == 5 else x.numel() // x.shape[-1]
    a, b = leaf(units, x.shape[-1]), leaf(units, x.shape[-1])
    dx, da, db = grad(norm(x, gamma, beta, ss, groups, 10.0 ** -eps, silu, a, b), dy, (x, a, b))
    return plus(dx, acc), torch.stack([db, da], 1)


def norm_grad_affine(sums, ss):
    c = sums.shape[-1]
    return affine_vjp(sums, leaf(1, 2 * c) if ss is None else ss, g := leaf(c), b := leaf(c), (g, b))


def norm_grad_ss(sums, gamma, beta, clips):
    ss = leaf(clips, 2 * sums.shape[-1])
    return affine_vjp(sums, ss, gamma, beta, (ss,))


def attention_grad(qkv, text, mask, dy, axis, heads):
    return grad(attention(qkv, text, mask, axis, heads), dy, (qkv,) if text is None else (qkv, text))


def conv_grad_x(dy, w, acc, axis, kernel, stride, *shape):
    x = leaf(*shape)
    return (plus(grad(conv(x, w, None, axis, kernel, stride), dy, (x,))[0], acc),)


def conv_grad_w(x, dy, axis, kernel, stride):
    w, b = leaf(dy.shape[-1], x.shape[-1], *[kernel] * (2 - axis)), leaf(dy.shape[-1])
    return grad(conv(x, w, b, axis, kernel, stride), dy, (w, b))


def linear_grad_x(dy, w, acc):
    x = leaf(*dy.shape[:-1], w.shape[1])
    return (plus(grad(F.linear(x, w), dy, (x,))[0], acc),)


def linear_grad_w(x, dy):
    w, b = leaf(dy.shape[-1], x.shape[-1]), leaf(dy.shape[-1])
    return grad(F.linear(x, w, b), dy, (w, b))


def upsample_grad(dy, acc, time, space):
    b, t, h, w, c = dy.shape
    x = leaf(b, t // time, h // space, w // space, c)
    return (plus(grad(upsample(x, time, space), dy, (x,))[0], acc),)


def add_position(x, p):
    return x + p[:x.shape[1]].reshape(1, x.shape[1], *[1] * (x.dim() - 3), x.shape[-1])


def add_position_grad_p(dy, rows):
    return grad(add_position(torch.zeros_like(dy), p := leaf(rows, dy.shape[-1])), dy, (p,))


def masked_mean_grad(mask, dy):
    return grad(masked_mean(x := leaf(*mask.shape, dy.shape[-1]), mask), dy, (x,))


def embedding_grad(ids, dy, rows):
    return grad(F.embedding(ids.long(), table := leaf(rows, dy.shape[-1])), dy, (table,))


def mse_grad(y, target):
    return grad(F.mse_loss(y, target), None, (y,))


def slice_channels(x, acc, first, count):
    return plus(x[..., first:first + count], acc)


ops = {
    "cast": lambda x, kind: x,
    "conv": lambda x, w, b, acc, *a: plus(conv(x, w, b, *a), acc),
    "conv_grad_x": conv_grad_x,
    "conv_grad_w": conv_grad_w,
    "linear": lambda x, w, b, acc: plus(F.linear(x, w, b), acc),
    "linear_grad_x": linear_grad_x,
    "linear_grad_w": linear_grad_w,
    "norm": lambda x, g, b, ss, groups, silu, eps: norm(x, g, b, ss, groups, 10.0 ** -eps, silu),
    "norm_grad": norm_grad,
    "norm_grad_affine": norm_grad_affine,
    "norm_grad_ss": norm_grad_ss,
    "silu": F.silu,
    "silu_grad": lambda x, dy, acc: (plus(grad(F.silu(x), dy, (x,))[0], acc),),
    "gelu": F.gelu,
    "gelu_grad": lambda x, dy, acc: (plus(grad(F.gelu(x), dy, (x,))[0], acc),),
    "add": lambda a, b: a + b,
    "add_position": add_position,
    "add_position_grad_p": add_position_grad_p,
    "attention": attention,
    "attention_grad": attention_grad,
    "upsample": upsample,
    "upsample_grad": upsample_grad,
    "concat": lambda a, b: torch.cat([a, b], -1),
    "slice": slice_channels,
    "space_to_depth": lambda x, f: shuffle(x, f, True),
    "depth_to_space": lambda x, f: shuffle(x, f, False),
    "fourier": fourier,
    "masked_mean": masked_mean,
    "masked_mean_grad": masked_mean_grad,
    "embedding": lambda ids, table: F.embedding(ids.long(), table),
    "embedding_grad": embedding_grad,
    "mse": F.mse_loss,
    "mse_grad": mse_grad,
}


# ---- random shapes: (attributes, wanted outputs, operands) for case n of a kind ----

maybe = lambda operand: operand if rng.rand() < 0.5 else None


def shape_conv(kind, n):
    axis, kernel, stride = pick(0, 0, 1), pick(1, 3, 3), pick(1, 1, 2)
    x, o = clip(n) + [channels(n)], channels(n)
    w = [o, x[4]] + [kernel] * (2 - axis)
    up = lambda k: -(-k // stride)
    y = [x[0], x[1], up(x[2]), up(x[3]), o] if axis == 0 else [x[0], up(x[1]), x[2], x[3], o]
    attr = [axis, kernel, stride]
    if kind == "conv":
        return attr, 1, [("a", x), ("w", w), maybe(("p", [o])), maybe(("a", y))]
    if kind == "conv_grad_x":
        return attr + x, 1, [("a", y), ("w", w), maybe(("a", x))]
    return attr, pick(1, 3), [("a", x), ("a", y)]


def shape_linear(kind, n):
    rows = pick([1], [between(2, 9)], [between(1, 3), between(1, 33)], clip(n), clip(n))
    i, o = channels(n) * pick(1, 1, 3), channels(n) * pick(1, 1, 2)
    x, y, w = ("a", rows + [i]), ("a", rows + [o]), ("w", [o, i])
    if kind == "linear":
        return [], 1, [x, w, maybe(("p", [o])), maybe(y)]
    return ([], 1, [y, w, maybe(x)]) if kind == "linear_grad_x" else ([], pick(1, 3), [x, y])


def shape_norm(kind, n):
    groups = pick(1, 2, 3, 4, 8, 16)
    c = groups * pick(*((4, 6) if n == 0 else (4, 5, 6, 8, 10)))
    x = clip(n) + [c] if n % 3 else pick([between(1, 9), c], [between(1, 3), between(1, 9), c])
    if len(x) < 5:
        groups = 1
    attr = [groups, pick(0, 1, 1), pick(5, 5, 12) if n % 3 == 0 else 5]
    operands = [("a", x), ("p", [c]), ("p", [c]), maybe(("p", [x[0], 2 * c]))]
    return (attr, 1, operands) if kind == "norm" else (attr, pick(1, 2, 3, 3), operands + [("a", x), maybe(("a", x))])


def shape_norm_sums(kind, n):
    clips, frames, c = pick(1, 2, 3), pick(1, 2, 5, 17), channels(n)
    if kind == "norm_grad_ss":
        return [clips], 1, [("p", [clips * frames, 2, c]), ("p", [c]), ("p", [c])]
    return [], 3, [("p", [clips * frames, 2, c]), maybe(("p", [clips, 2 * c]))]


def shape_pointwise(kind, n):
    x = ("a", pick(clip(n) + [channels(n)], [between(1, 5), between(1, 99)]))
    return [], 1, [x, x, maybe(x)] if kind.endswith("grad") else [x, x] if kind == "add" else [x]


def shape_cast(kind, n):
    return [n % 2], 1, [(pick("a", "p"), clip(n) + [channels(n)])]


def shape_position(kind, n):
    x = clip(n) + [channels(n)] if n % 4 else [between(1, 3), between(1, 9), channels(n)]
    rows = x[1] + pick(0, 1, 7)
    return ([], 1, [("a", x), ("p", [rows, x[-1]])]) if kind == "add_position" else ([rows], 1, [("a", x)])


def shape_attention(kind, n):
    heads, width, axis = pick(1, 2, 3, 5), pick(4, 8, 12, 16, 32, 33), pick(0, 0, 1)
    b, t, h, w = clip(n)
    c, text, mask = heads * width, None, None
    way = n % 3
    if axis == 0 and way == 1:
        tokens = pick(1, 3, 8, 32)
        text, mask = ("a", [b, tokens, 2 * c]), pick(None, ("m", [b, tokens]), ("m", [b, tokens]))
    elif axis == 0 and way == 2:
        mask = ("k", [b, h * w])
    operands = [("a", [b, t, h, w, 3 * c]), text, mask]
    if kind == "attention":
        return [axis, heads], 1, operands
    return [axis, heads], pick(3, 3, 1) if text else 1, operands + [("a", [b, t, h, w, c])]


def shape_upsample(kind, n):
    time, space = pick((1, 2), (2, 1), (2, 2), (1, 3), (4, 1))
    b, t, h, w = clip(n)
    x, y = ("a", [b, t, h, w, c := channels(n)]), ("a", [b, t * time, h * space, w * space, c])
    return [time, space], 1, [x] if kind == "upsample" else [y, maybe(x)]


def shape_concat(kind, n):
    rows = pick(clip(n), [between(1, 9)])
    return [], 1, [("a", rows + [channels(n)]), ("a", rows + [channels(n)])]


def shape_slice(kind, n):
    rows, c = pick(clip(n), [between(1, 9)]), channels(n)
    first = between(0, c - 1)
    count = between(1, c - first)
    return [first, count], 1, [("a", rows + [c]), maybe(("a", rows + [count]))]


def shape_shuffle(kind, n):
    f = pick(2, 3, 4)
    b, t, h, w = clip(n)
    deeper = kind == "space_to_depth"
    return [f], 1, [("a", [b, t, h * f, w * f, c := pick(1, 2, 3, 5, 8)] if deeper else [b, t, h, w, pick(1, 3, 4, 7) * f * f])]


def shape_text(kind, n):
    b, tokens, e, rows = between(1, 4), pick(1, 2, 7, 32), pick(1, 3, 8, 33, 128), between(1, 50)
    return {
        "fourier": ([2 * between(1, 66)], 1, [("p", [b])]),
        "masked_mean": ([], 1, [("a", [b, tokens, e]), ("m", [b, tokens])]),
        "masked_mean_grad": ([], 1, [("m", [b, tokens]), ("a", [b, e])]),
        "embedding": ([], 1, [(f"i{rows}", [b, tokens]), ("p", [rows, e])]),
        "embedding_grad": ([rows], 1, [(f"i{rows}", [b, tokens]), ("p", [b, tokens, e])]),
    }[kind]


def shape_mse(kind, n):
    y = ("p", clip(n) + [channels(n)])
    return [], 1, [y, y]


shapes = {
    "cast": shape_cast, "conv": shape_conv, "linear": shape_linear, "norm": shape_norm, "silu": shape_pointwise,
    "gelu": shape_pointwise, "add": shape_pointwise, "add_position": shape_position, "attention": shape_attention,
    "upsample": shape_upsample, "concat": shape_concat, "slice": shape_slice, "space_to_depth": shape_shuffle,
    "depth_to_space": shape_shuffle, "fourier": shape_text, "masked_mean": shape_text, "embedding": shape_text,
    "mse": shape_mse, "norm_grad_affine": shape_norm_sums, "norm_grad_ss": shape_norm_sums,
}


def shape_of(kind):
    return shapes[kind] if kind in shapes else shapes[kind.split("_grad")[0]]


def operand(seed, j, role, shape, bf16):
    x = values(8 * seed + j, shape)
    if role[0] == "i":
        x = np.floor((x + 1) / 2 * int(role[1:]))
    elif role in "mk":
        x = (x > -0.4).astype(np.float64)
        if role == "k":
            x[..., 0] = 1
    x = torch.from_numpy(x)
    if bf16 and role in "aw":
        x = x.bfloat16().double()
    return x.requires_grad_(role[0] in "awp")


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    lines, blobs, seed = [], [], 0
    for kind, op in ops.items():
        for n in range(CASES):
            attr, wanted, operands = shape_of(kind)(kind, n)
            seed += 1
            words = [kind, str(seed), ",".join(map(str, attr)) or "-", str(wanted)]
            words += ["-" if o is None else o[0] + ":" + "x".join(map(str, o[1])) for o in operands]
            lines.append(" ".join(words) + "\n")
            for bf16 in (False, True):
                args = [None if o is None else operand(seed, j, *o, bf16) for j, o in enumerate(operands)]
                out = op(*args, *attr)
                out = out if isinstance(out, tuple) else (out,)
                blobs += [record(y.detach().numpy()).tobytes() for i, y in enumerate(out) if wanted >> i & 1]
    with open(os.path.join(folder, "op_cases.txt"), "w") as f:
        f.writelines(lines)
    with open(os.path.join(folder, "op_samples.bin"), "wb") as f:
        f.writelines(blobs)
    print(len(lines), "cases,", sum(map(len, blobs)), "bytes")


if __name__ == "__main__":
    main()
