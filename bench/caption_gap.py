#!/usr/bin/env python3
"""How much does the text explain? The image layers' v-loss with the right caption, another subject's and none, by noise level,
and how far apart the network's projections of some prompts are.

    bench/caption_gap.py --minilm FOLDER [--base models/emoji/base] [--stills data/emoji/stills-3d.tar] [--count 64]

FOLDER holds all-MiniLM-L6-v2 as transformers reads it. Needs torch, transformers, safetensors and Pillow. Stills of the training part,
centred, on white, at 32x32. At time 1 a network that ignores the text can at best reach the variance printed.
"""
import argparse
import io
import json
import os
import random
import sys
import tarfile
import zlib

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "oracle"))
from stunet import UNet, UNetConfig, v_target  # noqa: E402

PAIRS = [("a rocket", "a pizza"), ("a rocket", "a rocket, moving from left to right"),
         ("a rocket, moving from left to right", "a rocket, rising from bottom to top"),
         ("a rocket, rising from bottom to top", "a rocket, falling from top to bottom"),
         ("a rocket, moving from left to right", "a rocket, moving from right to left")]


def read_stills(path, count):
    with tarfile.open(path) as tar:
        records = [(m.name[:-5], json.load(tar.extractfile(m))) for m in tar if m.name.endswith(".json")]
        records = [r for r in records if zlib.crc32(r[1]["subject"].encode()) % 20]
        pictures, captions = [], []
        for key, record in random.Random(1).sample(records, count):
            im = Image.open(io.BytesIO(tar.extractfile(key + ".webp").read())).convert("RGBA").crop((0, 0, record["size"], record["size"]))
            x = torch.frombuffer(bytearray(im.tobytes()), dtype=torch.uint8).float().reshape(record["size"], record["size"], 4) / 255
            pictures.append((x[..., :3] * x[..., 3:] + 1 - x[..., 3:]).permute(2, 0, 1) * 2 - 1)
            captions.append(record["caption"])
    return F.interpolate(torch.stack(pictures), size=(32, 32), mode="area")[:, :, None], captions


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--minilm", required=True)
    ap.add_argument("--base", default="models/emoji/base")
    ap.add_argument("--stills", default="data/emoji/stills-3d.tar")
    ap.add_argument("--count", type=int, default=64)
    a = ap.parse_args()
    tokens, encoder = AutoTokenizer.from_pretrained(a.minilm), AutoModel.from_pretrained(a.minilm).eval()

    def encode(captions):
        z = tokens(captions, padding="max_length", truncation=True, max_length=32, return_tensors="pt")
        return encoder(**z).last_hidden_state, z["attention_mask"].bool()

    net = UNet(UNetConfig()).eval()
    weights = load_file(os.path.join(a.base, "model.safetensors"))
    net.load_state_dict({k: weights[k].float() for k in net.state_dict()})
    x0, captions = read_stills(a.stills, a.count)
    texts = {"right": encode(captions), "another's": encode(captions[1:] + captions[:1]), "none": encode([""] * a.count)}
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(5))
    print(f"variance of the pictures: {x0.var(0).mean():.4f}")
    for t in (0.5, 0.7, 0.85, 0.95, 0.999):
        times = torch.full((a.count,), t)
        xt, v = v_target(x0, noise, times)
        losses = ", ".join(f"{name} {F.mse_loss(net(xt, None, times, *text), v):.4f}" for name, text in texts.items())
        print(f"time {t}: v-loss with caption {losses}", flush=True)
    for one, other in PAIRS:
        states, mask = encode([one, other])
        p, q = net.text_pool((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        print(f"distance {(p - q).norm():5.1f} of {p.norm():.1f}: \"{one}\" and \"{other}\"")


if __name__ == "__main__":
    main()
