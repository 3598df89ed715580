"""Test vectors of what super-resolution adds to the diffusion room, printed as a C header.

    python3 tests/oracle/cascade_vectors.py FOLDER > tests/data/cascade_vectors.h

FOLDER holds stunet.py, the executable specification (PyTorch).
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, sys.argv[1])
from stunet import multidiffusion


def array(name, values):
    text = [f"{float(v):.9g}" for v in values]
    body = ", ".join((t if "." in t or "e" in t else t + ".0") + "f" for t in text)
    print(f"static const float {name}[] = {{{body}}};")


def picture(height, width):
    """(1,3,height,width); number i of it, channels last, is sin(0.37 i) cos(0.011 i)."""
    i = np.arange(height * width * 3, dtype=np.float64)
    return torch.from_numpy((np.sin(0.37 * i) * np.cos(0.011 * i)).astype(np.float32)).reshape(1, height, width, 3).permute(0, 3, 1, 2)


def flat(x):
    return x.permute(0, 2, 3, 1).flatten()


def window_v(x, t):
    """Depends on where in its window a frame is: x (1,C,T,H,W)."""
    f = torch.arange(x.shape[2], dtype=torch.float32)[None, None, :, None, None]
    return 0.5 * x + 0.25 * f


print("// Made by tests/oracle/cascade_vectors.py: formulas and order of arrays are there.\n#pragma once\n// clang-format off")
low = F.avg_pool2d(picture(32, 48), 4)
array("reduced_32x48", flat(low))
large = F.interpolate(low, scale_factor=4, mode="bilinear", align_corners=False)
array("enlarged_every_7th", flat(large)[::7])
clip = flat(picture(21, 2)).reshape(1, 21, 1, 2, 3).permute(0, 4, 1, 2, 3)
for frames, window, overlap in ((21, 8, 3), (21, 16, 2), (5, 8, 3), (16, 8, 0), (21, 8, 7)):
    v = multidiffusion(window_v, clip[:, :, :frames], None, window, overlap)
    array(f"joined_{frames}_{window}_{overlap}", v.permute(0, 2, 3, 4, 1).flatten())
