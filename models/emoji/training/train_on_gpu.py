#!/usr/bin/env python3
"""All stages of a model one after the other on one GPU, in parts that fit the time that a machine is there for. From the repository's root:

    python3 models/emoji/training/train_on_gpu.py [--stop-after SECONDS] [--budget NAME=SECONDS]... [--pieces FOLDER] [RUNS.json]...
    python3 models/emoji/training/train_on_gpu.py --rehearse                    the same on any machine at a tenth of the size: a few minutes on a CPU
    python3 models/emoji/training/train_on_gpu.py split FILE FOLDER [FIRST [COUNT]]
    python3 models/emoji/training/train_on_gpu.py join FOLDER NAME OUT

The same command goes on where it was stopped (by --stop-after, Ctrl-C or SIGTERM, or two minutes before it was killed) and ends with 3 while there is more
to do, with 0 at the end. --budget spreads that many seconds over a stage's phases. --pieces: after every checkpoint FOLDER holds the stage's averaged
weights in files of 15 MiB at most, with config.json, metrics.csv and the last sheets; join makes the stage's folder of them again. split does that with any
file, a checkpoint for one, COUNT pieces from FIRST on; NAME is then the file's. Without RUNS.json: gpu-0.5-image.json, gpu-0.5-video.json.
"""
import argparse
import glob
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PIECE = 15 << 20


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def split(path, folder, name, first=0, count=10**6):
    """Pieces NAME.000 ... and, last, NAME.json, which says what they make together."""
    os.makedirs(folder, exist_ok=True)
    with open(path, "rb") as f:
        f.seek(first * PIECE)
        for i in range(first, first + count):
            piece = f.read(PIECE)
            if not piece:
                break
            with open(os.path.join(folder, f"{name}.{i:03}"), "wb") as out:
                out.write(piece)
    facts = {"file": os.path.basename(path), "bytes": os.path.getsize(path), "sha256": digest(path)}
    with open(os.path.join(folder, name + ".json"), "w") as f:
        json.dump(facts, f)


def join(folder, name, out):
    with open(os.path.join(folder, name + ".json")) as f:
        facts = json.load(f)
    pieces = [os.path.join(folder, f"{name}.{i:03}") for i in range(-(-facts["bytes"] // PIECE))]
    missing = [os.path.basename(p) for p in pieces if not os.path.exists(p)]
    if missing:
        sys.exit(f"{folder} lacks {', '.join(missing)}")
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, facts["file"])
    with open(path + ".part", "wb") as f:
        for p in pieces:
            with open(p, "rb") as piece:
                shutil.copyfileobj(piece, f)
    if digest(path + ".part") != facts["sha256"]:
        sys.exit(f"{name}: the pieces are not of one file")
    os.replace(path + ".part", path)
    for other in glob.glob(os.path.join(folder, glob.escape(name) + "-*")):
        shutil.copy(other, os.path.join(out, os.path.basename(other)[len(name) + 1:]))


def bring(folder):
    """-> what is called after a checkpoint: the stage's weights as pieces, and nothing else in the folder."""
    def saved(spec):
        os.makedirs(folder, exist_ok=True)
        for old in glob.glob(os.path.join(folder, "*")):
            if not os.path.basename(old).startswith(spec["name"]):
                os.remove(old)
        split(os.path.join(spec["out"], "model.safetensors"), folder, spec["name"])
        for path in (os.path.join(spec["out"], "config.json"), os.path.join(spec["out"], "metrics.csv"), *glob.glob(os.path.join(spec["out"], "sheet-*.png"))):
            shutil.copy(path, os.path.join(folder, f"{spec['name']}-{os.path.basename(path)}"))
    return saved


def smaller(runs, folder):
    """For the rehearsal: few sprites, narrow networks, small batches and six steps a phase, all files in the folder."""
    for spec in runs["stages"]:
        moved = {k: v.replace("out/", folder + "/", 1) for k, v in spec.items() if k in ("init", "out")}
        few = {} if spec.get("init") else {"config": {"channels": [16, 32, 48, 64], "head_dim": 16, "embed_width": 64}}
        spec.update(moved, **few, **({"frames": 16} if spec["stage"] == "video" else {}), log_every=2, warmup=2, sheet_steps=2, sheet_rows=10)
        for phase in spec["phases"]:
            del phase["seconds"]
            phase.update(steps=6, sizes=[[size, max(2, n // 16), min(share, 2)] for size, n, share in phase["sizes"]])
    runs.update(thin=30, frames=folder + "/frames")


def rehearse(files, text):
    import torch
    from train_gpu import read_safetensors, train_stages
    torch.set_num_threads(1)
    begun = time.time()
    with tempfile.TemporaryDirectory() as folder:
        pieces = os.path.join(folder, "pieces")
        for runs in files:
            smaller(runs, folder)
            runs["text"] = text
            stops = 0
            while not train_stages(runs, halt=4, saved=bring(pieces)):      # stopped every four steps
                stops += 1
            spec = runs["stages"][-1]
            join(pieces, spec["name"], os.path.join(folder, "joined"))
            names = "model.safetensors", "config.json", "metrics.csv"
            same = all(digest(os.path.join(folder, "joined", n)) == digest(os.path.join(spec["out"], n)) for n in names)
            facts, state = read_safetensors(os.path.join(spec["out"], "checkpoint.safetensors"))
            print(f"{spec['name']}: stopped {stops} times, {len(state)} tensors, moments told: {'moment_cond' in facts['config']}, joined pieces "
                  f"{'are the weights' if same else 'DIFFER'}", flush=True)
            if not same:
                sys.exit(1)
    print(f"rehearsed in {time.time() - begun:.0f} s")


def main():
    if sys.argv[1:2] == ["split"] and 4 <= len(sys.argv) <= 6:
        return split(sys.argv[2], sys.argv[3], os.path.basename(sys.argv[2]), *map(int, sys.argv[4:]))
    if sys.argv[1:2] == ["join"] and len(sys.argv) == 5:
        return join(*sys.argv[2:])
    begun = time.time()
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--stop-after", type=float, default=math.inf)
    args.add_argument("--budget", action="append", default=[])
    args.add_argument("--pieces")
    args.add_argument("--rehearse", action="store_true")
    args.add_argument("runs", nargs="*", default=[os.path.join(HERE, f"gpu-0.5-{s}.json") for s in ("image", "video")])
    args = args.parse_args()
    files = []
    for path in args.runs:
        with open(path) as f:
            files.append(json.load(f))
    stages = {s["name"]: s for runs in files for s in runs["stages"]}
    for entry in args.budget:
        name, seconds = entry.split("=")
        whole = sum(p["seconds"] for p in stages[name]["phases"])
        for p in stages[name]["phases"]:
            p["seconds"] *= float(seconds) / whole
    for runs in files:
        if not os.path.exists(runs["text"]):
            from pack_captions import pack
            os.makedirs(os.path.dirname(runs["text"]) or ".", exist_ok=True)
            pack("models/emoji/text", runs["text"], sorted({s["data"] for s in runs["stages"]}))
    if args.rehearse:
        return rehearse(files, files[0]["text"])
    from train_gpu import train_stages
    for runs in files:
        if not train_stages(runs, begun + args.stop_after, saved=bring(args.pieces) if args.pieces else None):
            sys.exit(3)


if __name__ == "__main__":
    main()
