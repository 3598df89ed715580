"""Converts all-MiniLM-L6-v2 as published into the folder that the text encoder reads; run once, its result is committed.

python tests/oracle/convert_text_encoder.py ORIGINAL FOLDER [--f32]

ORIGINAL holds the published config.json, model.safetensors and vocab.txt. Matrices become 8 bits with a scale per row
(NAME in I8, NAME.scale in F32: w = q * scale[row]) except those in HALF, which together cost the token states most of their cosine
(0.996 for the worst token with all matrices in 8 bits, 0.9993 so); these and the positions are F16, the rest stays F32. The pooler is
left out. With --f32 nothing is rounded: the folder for LUMIERE_MINILM in tests/net/test_text_encoder.c.
"""
import argparse
import json
import pathlib
import re
import shutil

import torch
from safetensors.torch import load_file, save_file

KEYS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
        "max_position_embeddings", "type_vocab_size", "layer_norm_eps"]
HALF = re.compile(r"position_embeddings|\d\.output\.dense|self\.value")


def best_scale(w):
    """The scale per row, of some around max / 127, that leaves the smallest squared error."""
    top = w.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    best, error = top, torch.full_like(top, float("inf"))
    for k in range(41):
        s = top * (1 - k / 100)
        e = ((w / s).round().clamp(-127, 127) * s - w).square().sum(1, keepdim=True)
        best, error = torch.where(e < error, s, best), torch.minimum(e, error)
    return best


def convert(tensors, exact):
    out = {}
    for name, w in tensors.items():
        if name.startswith("pooler.") or name.endswith("position_ids"):
            continue
        w = w.float().contiguous()
        if exact or w.dim() < 2 or "token_type" in name:
            out[name] = w
        elif HALF.search(name):
            out[name] = w.half()
        else:
            s = best_scale(w)
            out[name] = (w / s).round().clamp(-127, 127).to(torch.int8)
            out[name + ".scale"] = s[:, 0].contiguous()
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("original", type=pathlib.Path)
    a.add_argument("folder", type=pathlib.Path)
    a.add_argument("--f32", action="store_true")
    a = a.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((a.original / "config.json").read_text())
    (a.folder / "config.json").write_text(json.dumps({k: config[k] for k in KEYS}, indent=2) + "\n")
    shutil.copyfile(a.original / "vocab.txt", a.folder / "vocab.txt")
    tensors = convert(load_file(a.original / "model.safetensors"), a.f32)
    save_file(tensors, a.folder / "model.safetensors", {"source": "sentence-transformers/all-MiniLM-L6-v2",
                                                        "licence": "Apache-2.0"})


main()
