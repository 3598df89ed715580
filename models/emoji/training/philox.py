"""The random numbers of src/base/random.c for many items at once: the same seed, purpose, item and step give the same draws."""
import math
import sys

import torch
import triton
import triton.language as tl

NOISE, INIT, DATA, TIME, CONDITION, DROPOUT, TEST, LOW, MOMENT = range(1, 10)
WORD = 0xFFFFFFFF


def philox(c0, c1, c2, c3, seed):
    """Philox 4x32-10. Counters: int64 tensors of 32-bit words that broadcast, or numbers. Products wrap to the right words."""
    k0, k1 = seed & WORD, seed >> 32
    for _ in range(10):
        p, q = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (q >> 32 & WORD) ^ c1 ^ k0, q & WORD, (p >> 32 & WORD) ^ c3 ^ k1, p & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


class Stream:
    """lm_stream: every item goes on at its own place. A draw may be for some items only (`where`); the others stay where they are."""

    def __init__(self, words):
        self.words, self.at = words, torch.zeros_like(words[:, 0])

    def word(self, where):
        w = self.words.gather(1, self.at[:, None])[:, 0]
        self.at = self.at + (1 if where is None else where.long())
        return w

    def uniform(self, where=None):
        return self.word(where).double() * 2.0 ** -32

    def below(self, n, where=None):
        return self.word(where) * n >> 32


def streams(seed, purposes, item, step, room=32):
    """A stream for each purpose. item (N,) and step () int64; room: draws of an item at most."""
    block, last = torch.arange(-(-room // 4), device=item.device), [step & 0xFFFFFF | p << 24 for p in purposes]
    words = philox(block, WORD, item[:, None], torch.stack(last)[:, None, None], seed)
    return [Stream(w) for w in torch.stack(torch.broadcast_tensors(*words), -1).flatten(2)]


def normal(seed, purpose, item, frames, count, step):
    """lm_random_normal of frames 0... of every item: (N,frames,count) floats."""
    dev = item.device
    block, frame = torch.arange(-(-count // 4), device=dev), torch.arange(frames, device=dev)
    r = philox(block[None, None], frame[None, :, None], item[:, None, None], step & 0xFFFFFF | purpose << 24, seed)
    out = []
    for u, v in ((r[0], r[1]), (r[2], r[3])):
        radius, angle = ((u.double() + 1) * 2.0 ** -32).log().mul(-2).sqrt(), v.double() * (2.0 ** -32 * 2 * math.pi)
        out += [(radius * angle.cos()).float(), (radius * angle.sin()).float()]
    return torch.stack(out, -1).flatten(2)[..., :count]


@triton.jit
def normal_kernel(out, items, step, frames, count, seed, purpose, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    item, frame = tl.load(items + row // frames), row % frames
    last = (tl.load(step) & 0xFFFFFF) | (purpose << 24)
    zero = block * 0
    r0, r1, r2, r3 = tl.philox(seed, block.to(tl.uint32), (zero + frame).to(tl.uint32), (zero + item).to(tl.uint32), (zero + last).to(tl.uint32))
    for half in tl.static_range(2):
        u, v = (r0, r1) if half == 0 else (r2, r3)
        radius = tl.sqrt(-2.0 * tl.log((u.to(tl.float64) + 1.0) * 2.3283064365386963e-10))
        angle = v.to(tl.float64) * 1.462918079267160e-09        # 2 pi / 2^32
        at = block * 4 + 2 * half
        tl.store(out + row * count + at, (radius * tl.cos(angle)).to(tl.float32), mask=at < count)
        tl.store(out + row * count + at + 1, (radius * tl.sin(angle)).to(tl.float32), mask=at + 1 < count)


def normal_by_kernel(seed, purpose, item, frames, count, step):
    out = torch.empty(len(item), frames, count, device=item.device)
    normal_kernel[(len(item) * frames, triton.cdiv(count, 1024))](out, item, step, frames, count, seed, purpose, 256)
    return out


def kernel_agrees(device):
    """Does the kernel give what the arithmetic above does? Where it doesn't, that is used instead, and a line says so."""
    item, step = torch.tensor([0, 3, 70000], device=device), torch.tensor(0x1234567, device=device)
    args = (0x123456789ABC, NOISE, item, 2, 1030, step)
    try:
        error = (normal(*args) - normal_by_kernel(*args)).abs().max().item()
    except Exception as e:      # noqa: BLE001: whatever the compiler says
        error = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
    if isinstance(error, float) and error < 1e-4:
        return True
    print(f"noise: PyTorch's arithmetic instead of the kernel ({error})", file=sys.stderr, flush=True)
    return False


def name_hash(name):
    h = 2166136261
    for b in name.encode():
        h = ((h ^ b) * 16777619) & WORD
    return h


@torch.no_grad()
def be_born(net, seed, names=None):
    """Weights as src/train/born.c makes them; what a newborn network of stunet.py has at 0, 1 or as identity stays."""
    parameters = dict(net.named_parameters())
    for name, p in parameters.items():
        if names is not None and name not in names:
            continue
        item, step = torch.tensor([name_hash(name)]), torch.tensor(0)
        if name.endswith("position"):
            p.copy_(normal(seed, INIT, item, 1, p.numel(), step).reshape(p.shape) * 0.02)
        elif "temporal_resize" not in name and p.any() and not (p.ndim == 1 and (p == 1).all()):
            bound = 1 / math.sqrt(parameters[name.rsplit(".", 1)[0] + ".weight"][0].numel())
            u = streams(seed, [INIT], item, step, p.numel())[0].words[0, :p.numel()].double() * 2.0 ** -32
            p.copy_((bound * (2 * u - 1)).reshape(p.shape))
