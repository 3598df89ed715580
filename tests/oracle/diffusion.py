"""Test vectors of the diffusion room, printed as a C header.

    python3 tests/oracle/diffusion.py FOLDER > tests/data/diffusion_vectors.h

FOLDER holds stunet.py, the executable specification of the networks and of DDIM (PyTorch).
"""
import sys

import numpy as np
import torch

sys.path.insert(0, sys.argv[1])
from stunet import alpha_sigma, ddim, v_target

N = 60


def noise():
    return torch.tensor([1.5 * np.sin(0.37 * i + 0.2) for i in range(N)], dtype=torch.float32)


def data_mean():
    return torch.tensor([0.9 * np.cos(1.3 * i) for i in range(N)], dtype=torch.float32)


def gaussian_v(x, t):
    """Exact v when the data are normal around data_mean() with standard deviation 0.5."""
    a, s = alpha_sigma(t.double())
    x, mean = x.double(), data_mean().double()
    x0 = mean + a * 0.25 / (a * a * 0.25 + s * s) * (x - a * mean)
    return (a * (x - a * x0) / s - s * x0).float()


def array(name, values):
    body = ", ".join(f"{float(v):.9g}f" if "." in f"{float(v):.9g}" or "e" in f"{float(v):.9g}" else f"{float(v):.1f}f" for v in values)
    print(f"static const float {name}[] = {{{body}}};")


print("// Made by tests/oracle/diffusion.py: formulas and order of arrays are there.\n#pragma once\n// clang-format off")
for steps in (1, 5, 25):
    array(f"ddim_clamped_{steps}", ddim(gaussian_v, noise(), steps))
array("ddim_free_10", ddim(gaussian_v, noise(), 10, clamp=1e9))
array("ddim_from_half_6", ddim(gaussian_v, noise(), 6, t_start=0.5, init=data_mean()))
xt, v = v_target(data_mean()[None], noise()[None], torch.tensor([0.3]))
array("target_xt", xt[0])
array("target_v", v[0])
x0 = np.array([2.5 * np.sin(0.71 * i) * np.cos(0.13 * i) for i in range(N)], dtype=np.float32)
percentiles = (0.001, 0.5, 0.8, 0.95, 0.995)
array("abs_percentiles", [np.percentile(np.abs(x0), 100 * p) for p in percentiles])
s = np.float32(max(1.0, np.percentile(np.abs(x0), 80)))
array("thresholded_80", np.clip(x0, -s, s) / s)
