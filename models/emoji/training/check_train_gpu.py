#!/usr/bin/env python3
"""Is train_gpu.py the specification's trainer? On a CPU, in fp32, kernels interpreted.

    python3 models/emoji/training/check_train_gpu.py [LUMIERE]      needs torch and Triton; no GPU. From the repository's root

Networks and their gradients against stunet.py, Muon against muon.py, AdamW against PyTorch's, noise by the kernel against noise without. With LUMIERE,
the program: both train small networks for a few steps from nothing, an image network, then its inflation, with everything drawn that the recipe draws;
losses and all tensors of the two checkpoints are compared, and each goes on from the other's. One caption drawn otherwise makes differences of 1e-2 in
some tensors.
"""
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace

os.environ["TRITON_INTERPRET"] = "1"
import torch  # noqa: E402
import philox  # noqa: E402
import train_gpu  # noqa: E402
from optimiser import DEFAULTS, Optimiser, orthogonal, parts_of  # noqa: E402
from stunet import UNet, UNetConfig, inflate  # noqa: E402
import muon as specification  # noqa: E402

SMALL = UNetConfig(channels=(32, 48, 64, 96), embed_width=128)
failed = []


def report(what, error, bound):
    print(f"{what}: {error:.1e}{'' if error < bound else ', too much'}", flush=True)
    if not error < bound:
        failed.append(what)


def distance(got, want):
    return ((got - want).square().sum() / want.square().sum().clamp(min=1e-30)).item()


def errors(net, clips, frames, size, cond):
    for p in net.parameters():      # nothing is left at zero
        p.data.add_(0.03 * torch.randn_like(p))
    x, w = torch.randn(2, clips, 3, frames, size, size)
    c = torch.randn(clips, cond, frames, size, size) if cond else None
    t, text = torch.rand(clips), torch.randn(clips, 32, 384)
    mask = torch.arange(32)[None] < torch.arange(5, 5 + 3 * clips, 3)[:, None]
    level = torch.rand(clips) if net.cfg.noise_level_cond else None
    moment = torch.rand(clips, frames) if net.cfg.moment_cond else None
    want = net(x, c, t, text, mask, level, moment)
    (want * w).sum().backward()
    gradients = {k: p.grad.clone() for k, p in net.named_parameters()}
    net.zero_grad()
    net = net.to(memory_format=torch.channels_last)
    got = train_gpu.forward(net, x.transpose(1, 2), None if c is None else c.transpose(1, 2), t, text, mask, level, moment).transpose(1, 2)
    (got * w).sum().backward()
    return distance(got, want), max(distance(p.grad, gradients[k]) for k, p in net.named_parameters())


def check_networks():
    told = replace(SMALL, moment_cond=True)
    for name, net, *shape in (("image", UNet(SMALL), 2, 1, 16, 0), ("image with moments", UNet(told), 2, 1, 16, 0),
                              ("video", inflate(UNet(SMALL), cond_channels=4), 2, 16, 16, 4),
                              ("video with moments", inflate(UNet(told), cond_channels=4), 2, 16, 16, 4),
                              ("ssr", UNet(replace(train_gpu.SSR, channels=(32, 48, 64))), 2, 3, 32, 3)):
        for kernels in (True, False):
            train_gpu.KERNELS = kernels
            output, gradient = errors(net, *shape)
            report(f"{name}, {'kernels' if kernels else 'PyTorch alone'}: normalised mean square error of the output", output, 1e-8)
            report("    of the worst gradient", gradient, 1e-8)
            net.zero_grad()


def check_optimisers():
    x = torch.randn(3, 40, 64)
    for shape in (x, x.mT):
        report("Newton-Schulz of a batch", distance(orthogonal(shape), torch.stack([specification.orthogonal(g, torch.float32) for g in shape])), 1e-8)
    tops = torch.linalg.svdvals(orthogonal(x, 4))
    report("    in four steps: farthest singular value from 1", (tops - 1).abs().max().item(), 0.26)
    net = inflate(UNet(replace(SMALL, moment_cond=True)), cond_channels=4).to(memory_format=torch.channels_last)
    other = inflate(UNet(replace(SMALL, moment_cond=True)), cond_channels=4)
    other.load_state_dict(net.state_dict())
    for parts in (0, 1, 2):
        o = {**DEFAULTS, "optimizer": "muon", "muon_parts": parts, "clip": 1e9}
        ours = Optimiser(dict(net.named_parameters()), o)
        names = {k for m in ours.muon for k in m.members}
        theirs = specification.Muon([])
        theirs.params = [z for k, p in other.named_parameters() if k in names for z in p.data.chunk(parts_of(k, o))]
        theirs.moments = [torch.zeros_like(z) for z in theirs.params]
        rest = torch.optim.AdamW([p for k, p in other.named_parameters() if k not in names], lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
        kept, specification.orthogonal.__defaults__ = specification.orthogonal.__defaults__, (torch.float32,)
        for _ in range(3):
            for p, q in zip(net.parameters(), other.parameters()):
                p.grad = torch.randn_like(p)
                q.grad = p.grad.clone(memory_format=torch.contiguous_format)
            grads = [z for k, p in other.named_parameters() if k in names for z in p.grad.chunk(parts_of(k, o))]
            for z, g in zip(theirs.params, grads):
                z.grad = g
            ours.step(torch.tensor(1.0))
            theirs.step(0.02)
            rest.step()
        specification.orthogonal.__defaults__ = kept
        where = dict(other.named_parameters())
        worst = [max(distance(p, where[k]) for k, p in net.named_parameters() if (k in names) == by) for by in (True, False)]
        report(f"three steps, muon_parts {parts}: {len(names)} weights by Muon, worst", worst[0], 1e-8)
        report("    the rest by AdamW, worst", worst[1], 1e-8)


def check_random():
    words = philox.philox(*(torch.zeros((), dtype=torch.long) for _ in range(4)), 0)
    report("Philox: its published words", float([int(w) for w in words] != [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]), 0.5)
    args = 0x123456789ABC, philox.NOISE, torch.tensor([0, 3, 70000]), 2, 1030, torch.tensor(0x1234567)
    report("noise by the kernel, largest difference", (philox.normal(*args) - philox.normal_by_kernel(*args)).abs().max().item(), 1e-5)


def few_records(folder):
    """Some stills and clips of the repository's shards."""
    path = os.path.join(folder, "few.tar")
    with tarfile.open(path, "w") as out:
        for name, count in (("stills-3d", 60), ("train-anim-000", 16)):
            with tarfile.open(f"data/emoji/{name}.tar") as tar:
                for m in list(tar)[:2 * count]:
                    out.addfile(m, tar.extractfile(m))
    return path


def yaml(spec):
    return "".join(f"{k}: {json.dumps(v)}\n" for k, v in spec.items())


def program(lumiere, folder, spec, *options):
    path = os.path.join(folder, "run.yaml")
    with open(path, "w") as f:
        f.write(yaml(spec))
    subprocess.run([lumiere, "train", path, "--precision", "fp32", "--threads", "1", "--progress", "none", *options], check=True, stdout=subprocess.DEVNULL)


def check_against(lumiere):
    from pack_captions import pack
    train_gpu.KERNELS = False
    with tempfile.TemporaryDirectory() as folder:
        data, text = few_records(folder), os.path.join(folder, "captions.npz")
        pack("models/emoji/text", text, [data])
        captions = train_gpu.Captions(text)
        sprites = train_gpu.Sprites(data, captions)
        config = os.path.join(folder, "small.json")
        with open(config, "w") as f:
            f.write(train_gpu.config_text(SMALL))
        given = {"seed": 7, "optimizer": "muon", "muon_rate": 0.02, "learning_rate": 1e-3, "average": 0.9, "warmup": 3, "cooldown": 0.3, "motion_share": 0.6,
                 "motion_caption_share": 0.8, "moment_share": 0.5, "wording_share": 0.7, "caption_share": 0.4, "plain_share": 0.4, "color_share": 0.6, "condition_share": 0.9,
                 "caption_dropout": 0.1, "time_shift": 2.0}
        init = None
        for stage, batch, frames, steps in (("image", 16, 1, 5), ("video", 3, 16, 4)):
            a, b = (os.path.join(folder, f"{stage}-{who}") for who in ("program", "here"))
            common = {**given, "stage": stage, **({"frames": frames} if frames > 1 else {})}
            begin = {"init": init} if init else {"config": config}
            asked = {**common, **begin, "data": [data], "out": a, "size": 32, "batch": batch, "steps": steps, "log_every": 1, "validate_every": 0,
                     "sample_every": 0}
            program(lumiere, folder, asked)
            begin = {"init": init} if init else {"config": {"channels": SMALL.channels, "embed_width": SMALL.embed_width}}
            spec = {**common, **begin, "name": stage, "out": b, "log_every": 1, "phases": [{"steps": steps, "sizes": [[32, batch, 1]]}]}
            train_gpu.Run(spec, captions, sprites).train()
            compare(stage, a, b)
            if stage == "image":
                exchange(lumiere, folder, asked, spec, captions, sprites, steps)
            init = a


def losses(folder, weight):
    """A step each: the tables have running means."""
    with open(os.path.join(folder, "metrics.csv")) as f:
        means = [float(r.split(",")[3]) for r in f.read().split("\n")[1:] if r]
    return torch.tensor([means[0], *((m - (1 - weight) * k) / weight for k, m in zip(means, means[1:]))])


def compare(name, a, b):
    facts, state = zip(*(train_gpu.read_safetensors(os.path.join(f, "checkpoint.safetensors")) for f in (a, b)))
    report(f"{name} against the program: tensors that only one has", float(len(state[0].keys() ^ state[1].keys())), 0.5)
    report("    the network's configuration", float(facts[0]["config"] != facts[1]["config"]), 0.5)
    report("    losses of the steps, farthest", (losses(a, 0.02) - losses(b, 0.05)).abs().max().item(), 3e-3)
    for kind in ("weights", "average", "momentum", "moment1", "moment2"):
        keys = [k for k in state[0] if k.startswith(kind + "/") and k in state[1] and state[0][k].any()]
        report(f"    {kind}, the worst of {len(keys)} tensors", max(distance(state[1][k], state[0][k]) for k in keys), 3e-4)


def exchange(lumiere, folder, asked, spec, captions, sprites, steps):
    """Two steps more, each from the other's checkpoint."""
    import shutil
    a, b = asked["out"], spec["out"]
    for z in (a, b):
        shutil.copytree(z, z + "-lent")
    program(lumiere, folder, {**asked, "out": b + "-lent", "steps": steps + 2}, "--resume")
    train_gpu.Run({**spec, "out": a + "-lent", "phases": [{"steps": steps + 2, "sizes": spec["phases"][0]["sizes"]}]}, captions, sprites).train()
    states = [train_gpu.read_safetensors(os.path.join(z + "-lent", "checkpoint.safetensors"))[1] for z in (a, b)]
    report("    two steps more, each from the other's checkpoint", max(distance(states[0][k], v) for k, v in states[1].items() if v.any()), 1e-2)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    check_random()
    check_optimisers()
    check_networks()
    if len(sys.argv) > 1:
        check_against(sys.argv[1])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
