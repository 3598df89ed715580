"""What the C engine is compared with: the executable specification (tests/oracle/stunet.py) run and timed by PyTorch.

    python bench/pytorch/bench.py [--threads 2] [--repeat 5] [--rows forward,image,video] [--dtype float32|bfloat16] [--compile]

    forward   the base network once: 1 clip, 80 frames, 64x64 (one half of a guided sampling step)
    image     one training step of the image stage: 64 pictures, 32x32
    video     one training step of the video stage: 1 clip, 80 frames, 64x64, image weights frozen

A line of JSON a row; the run before the timed ones does not count. "Tuned malloc" is the same command under
    LD_PRELOAD=libtcmalloc_minimal.so.4  or  GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296
"""
import argparse
import json
import os
import re
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/oracle"))
from stunet import UNet, UNetConfig, inflate, v_target  # noqa: E402


def live(net):
    """Zero-born layers get values, so that no multiplication is by zero."""
    for p in net.parameters():
        if p.abs().sum() == 0:
            torch.nn.init.normal_(p, std=0.02)
    return net


def allocator():
    with open("/proc/self/maps") as f:
        if "tcmalloc" in f.read():
            return "tcmalloc"
    return "glibc, tuned" if "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "") else "glibc"


def measure(a, name, fn):
    fn()
    times = []
    for _ in range(a.repeat):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    times.sort()
    onednn = re.search(r"(?:oneDNN|MKL-DNN|Intel\(R\) MKL-DNN) v([0-9.]+)", torch.__config__.show())
    print(json.dumps({"row": name, "seconds_min": round(times[0], 4), "seconds_median": round(times[len(times) // 2], 4),
                      "dtype": a.dtype, "threads": torch.get_num_threads(), "compiled": a.compile, "torch": torch.__version__,
                      "onednn": onednn.group(1) if onednn else "", "cpu": torch.backends.cpu.get_cpu_capability(),
                      "malloc": allocator()}), flush=True)


class Stage:
    """A network and what its training step trains."""

    def __init__(self, net, params, compiled):
        self.net, self.cond = torch.compile(net) if compiled else net, net.cfg.cond_channels
        self.opt = torch.optim.AdamW(params, lr=1e-5)

    def step(self, amp, text, mask, batch, frames, size):
        x0, t = torch.randn(batch, 3, frames, size, size), torch.rand(batch)
        cond = torch.randn(batch, self.cond, frames, size, size) if self.cond else None
        xt, v = v_target(x0, torch.randn_like(x0), t)
        with amp:
            y = self.net(xt, cond, t, text.expand(batch, -1, -1), mask.expand(batch, -1))
            loss = F.mse_loss(y.float(), v)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        self.opt.step()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--rows", default="forward,image,video")
    ap.add_argument("--dtype", default="float32")
    ap.add_argument("--compile", action="store_true")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, a.dtype)
    amp = torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32)
    text, mask = torch.randn(1, 32, 384), torch.arange(32)[None] < 8
    image = live(UNet(UNetConfig()))
    video = live(inflate(image, cond_channels=4, max_frames=80))

    rows = a.rows.split(",")
    if "forward" in rows:
        net = torch.compile(video) if a.compile else video
        x, cond, t = torch.randn(1, 3, 80, 64, 64), torch.randn(1, 4, 80, 64, 64), torch.rand(1)
        with torch.no_grad(), amp:
            measure(a, "forward", lambda: net(x, cond, t, text, mask))
    if "image" in rows:
        stage = Stage(image, image.parameters(), a.compile)
        measure(a, "image", lambda: stage.step(amp, text, mask, 64, 1, 32))
    if "video" in rows:
        params = []
        for k, p in video.named_parameters():
            p.requires_grad_("temporal" in k or k.startswith("cond_in"))
            params += [p] if p.requires_grad else []
        stage = Stage(video, params, a.compile)
        measure(a, "video", lambda: stage.step(amp, text, mask, 1, 80, 64))


if __name__ == "__main__":
    main()
