"""The optimisers of docs/training.md over whole lists of tensors, without work on the host: AdamW, and Muon on batches of equal matrices.

Which parameter is trained by what, and how fast, is as in src/train/optimiser.c and group_rules.c; the moments' names are those of its checkpoints.
"""
import torch

PUBLISHED = [(3.4445, -4.7750, 2.0315)] * 5
QUICK = [(8.40518, -24.8508, 18.4246), (4.07717, -3.03504, 0.572207), (3.60579, -2.69963, 0.534012), (2.61773, -1.94129, 0.44864)]
BY_MUON = {"vectors": False, "ends": False, "convolutions": True, "attention": True, "conditions": True, "projections": False, "temporal": False,
           "positions": False}
LEAST = 9       # rows and columns
DEFAULTS = {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "muon_rate": 0.02,
            "muon_momentum": 0.95, "muon_decay": 0.01, "muon_steps": 5, "muon_parts": 1, "groups": [], "clip": 1.0}


def group_of(name, p):
    """The group of src/net/families/unet.c that a parameter belongs to."""
    module = name.rsplit(".", 2)[-2] if "." in name else name
    if name.endswith("position"):
        return "positions"
    if p.ndim == 1:
        return "vectors"
    if name.startswith(("conv_in", "cond_in", "conv_out")):
        return "ends"
    if p.ndim == 3:
        return "temporal"
    if p.ndim == 4:
        return "convolutions" if p.shape[2] == 3 else "projections"
    if module in ("embed", "0", "1", "2"):      # numbers: of time_mlp, noise_mlp, moment_mlp and text_pool
        return "conditions"
    return "projections" if "temporal.conv" in name else "attention"


def parts_of(name, o):
    """Matrices that a parameter is taken as."""
    parts = 2 if name.endswith(("embed.weight", "text_kv.weight")) else 3 if name.endswith("qkv.weight") else 1
    return parts if o["muon_parts"] == 2 or (o["muon_parts"] == 1 and parts == 2) else 1


def rules(o):
    """-> {group: (by Muon, rate)}"""
    muon = {"adamw": False, "muon": True}[o["optimizer"]]
    out = {g: (muon and by, o["muon_rate"] if muon and by else o["learning_rate"]) for g, by in BY_MUON.items()}
    for entry in o["groups"]:
        group, by, *rate = entry.split()
        if group not in out or by not in ("adamw", "muon") or (by == "muon" and group in ("vectors", "positions")):
            raise SystemExit(f'groups: "{entry}" can\'t be')
        out[group] = (by == "muon", float(rate[0]) if rate else o["muon_rate" if by == "muon" else "learning_rate"])
    return out


def matrix(p, parts=1):
    """(out,in[,k,k]) -> (parts,rows,columns); a view where p is dense, channels-last or not. Muon doesn't mind the order of columns."""
    p = p.detach()
    if p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last):
        p = p.permute(0, 2, 3, 1)
    return p.reshape(parts, p.shape[0] // parts, -1)


def orthogonal(x, steps=5, dtype=torch.float32):
    """x (N,rows,columns) floats -> the same with singular values near 1."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    if steps == 4:
        g = x @ x.mT
        bound = 1.01 * (g @ g).square().sum((1, 2)).pow(0.125)
        x = x / torch.where(bound > 0.01, bound, 1)[:, None, None]
    x = x.to(dtype)
    for a, b, c in QUICK if steps == 4 else PUBLISHED:
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class Muon:
    """Matrices of one shape and rate: {name: (parameter, parts)}."""

    def __init__(self, o, members, rate):
        self.o, self.rate, self.members = o, rate, members
        self.views = [v for p, parts in members.values() for v in matrix(p, parts)]
        assert all(v.untyped_storage().data_ptr() == p.untyped_storage().data_ptr() for p, k in members.values() for v in matrix(p, k))
        self.momentum = torch.zeros(len(self.views), *self.views[0].shape, device=self.views[0].device)
        self.dtype = torch.bfloat16 if self.momentum.is_cuda and o["muon_steps"] == 5 else torch.float32
        self.scale = max(1.0, self.views[0].shape[0] / self.views[0].shape[1]) ** 0.5

    def step(self, clip, schedule):
        g = torch.cat([matrix(p.grad.contiguous(memory_format=torch.channels_last) if p.ndim == 4 and
                              p.is_contiguous(memory_format=torch.channels_last) else p.grad, parts) for p, parts in self.members.values()]) * clip
        self.momentum.mul_(self.o["muon_momentum"]).add_(g)
        u = orthogonal(g + self.o["muon_momentum"] * self.momentum, self.o["muon_steps"], self.dtype)
        rate = self.rate * schedule
        torch._foreach_mul_(self.views, 1 - rate * self.o["muon_decay"])
        torch._foreach_sub_(self.views, list((u * (rate * self.scale)).unbind()))

    def moments(self):
        """{name: momentum} in the parameters' form: copies, and how to take them back."""
        at = 0
        for name, (p, parts) in self.members.items():
            yield name, p, self.momentum[at:at + parts]
            at += parts


class Optimiser:
    """parameters: {name: parameter}. step(schedule) with schedule a tensor () that the rates are multiplied by; everything else lies on the device."""

    def __init__(self, parameters, o):
        self.o = o = {**DEFAULTS, **{k: v for k, v in o.items() if k in DEFAULTS}}
        groups, muon, adamw = rules(o), {}, {}
        self.parameters = list(parameters.values())
        for name, p in parameters.items():
            by, rate = groups[group_of(name, p)]
            parts = parts_of(name, o)
            if by and min(len(p) // parts, p[0].numel()) >= LEAST:
                muon.setdefault((len(p) // parts, p[0].numel(), rate), {})[name] = (p, parts)
            else:
                adamw.setdefault(o["learning_rate"] if by else rate, {})[name] = p
        self.muon = [Muon(o, members, k[2]) for k, members in muon.items()]
        self.adamw = [(rate, members, [torch.zeros_like(p) for p in members.values()], [torch.zeros_like(p) for p in members.values()])
                      for rate, members in adamw.items()]
        self.updates = torch.zeros((), dtype=torch.float64, device=self.parameters[0].device)

    def state(self):
        return [self.updates, *(m.momentum for m in self.muon), *(z for _, _, m, v in self.adamw for z in (*m, *v))]

    @torch.no_grad()
    def step(self, schedule):
        o = self.o
        norm = torch.stack(torch._foreach_norm([p.grad for p in self.parameters])).norm()
        clip = (o["clip"] / (norm + 1e-6)).clamp(max=1)
        self.updates += 1
        for rate, members, m, v in self.adamw:
            p = list(members.values())
            g = torch._foreach_mul([q.grad for q in p], clip)
            torch._foreach_mul_(p, 1 - rate * schedule * o["weight_decay"])
            torch._foreach_mul_(m, o["beta1"])
            torch._foreach_add_(m, g, alpha=1 - o["beta1"])
            torch._foreach_mul_(v, o["beta2"])
            torch._foreach_addcmul_(v, g, g, 1 - o["beta2"])
            down = torch._foreach_sqrt(v)
            torch._foreach_mul_(down, (1 / (1 - o["beta2"] ** self.updates).sqrt()).float())
            torch._foreach_add_(down, o["eps"])
            up = torch._foreach_div(m, down)
            torch._foreach_mul_(up, (rate * schedule / (1 - o["beta1"] ** self.updates)).float())
            torch._foreach_sub_(p, up)
        for m in self.muon:
            m.step(clip, schedule)
        return norm

    def save(self):
        """{name in a checkpoint: tensor}"""
        out = {}
        for _, members, m, v in self.adamw:
            for name, first, second in zip(members, m, v):
                out["moment1/" + name], out["moment2/" + name] = first, second
        for muon in self.muon:
            for name, p, m in muon.moments():
                out["momentum/" + name] = self.as_parameter(m, p)
        return out

    @torch.no_grad()
    def load(self, state):
        for _, members, m, v in self.adamw:
            for name, first, second in zip(members, m, v):
                first.copy_(state["moment1/" + name])
                second.copy_(state["moment2/" + name])
        for muon in self.muon:
            for name, p, m in muon.moments():
                m.copy_(matrix(torch.empty_like(p).copy_(state["momentum/" + name]), len(m)))

    @staticmethod
    def as_parameter(m, p):
        if p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last):
            o, i, h, w = p.shape
            return m.reshape(o, h, w, i).permute(0, 3, 1, 2)
        return m.reshape(p.shape)
