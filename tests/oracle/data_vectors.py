"""Test vectors for the training data from its executable specification, data.py.

    tests/oracle/data_vectors.py tests/oracle data/emoji tests/data/train

scenes.bin: for each motion, in order, and first frame 0, 35, 70: ten frames of the sprite below at 64 x 64 and at 32 x 32,
channels last; every 127th or 31st number v of them as the 16-bit round((v + 1) * 32767.5), little-endian.
validation.txt: the subjects of data/emoji that are left out for validation, sorted. Needs numpy, PyTorch.
"""
import glob
import json
import os
import sys
import tarfile

import numpy as np
import torch
import torch.nn.functional as F

SIZE, COUNT, FRAMES = 64, 5, 10


def sprite():
    """uint8 (COUNT,4,SIZE,SIZE) by a formula that the test repeats."""
    f, c, y, x = np.meshgrid(*(np.arange(n) for n in (COUNT, 3, SIZE, SIZE)), indexing="ij")
    alpha = (x[:, :1] * 3 + y[:, :1] * 5 + f[:, :1] * 40) % 256
    color = (x * 7 + y * 2 + f * 11 + c * 60) % 256
    return np.concatenate([color * alpha // 255, alpha], 1).astype(np.uint8)


class Scripted:
    """Stands for random.Random: every share is reached, choices and integers are those given."""

    def __init__(self, chosen, numbers):
        self.chosen, self.numbers = chosen, list(numbers)

    def random(self):
        return 0.0

    def choice(self, items):
        return next((item for item in items if item in self.chosen), items[0])

    def randrange(self, n):
        value = self.numbers.pop(0)
        assert 0 <= value < n
        return value


def scenes(data):
    record = {"caption": "a test", "paraphrases": [], "motion": "", "frames_data": sprite()}
    clips = data.Clips([record], "cpu", SIZE)
    motions, colors = list(data.MOTIONS), list(data.COLORS)
    out = []
    for m, motion in enumerate(motions):
        for k, first in enumerate((0, 35, 70)):
            color = (3 * m + k) % len(colors)
            rng = Scripted({motion, colors[color]}, [first, 3])
            x, _ = clips.batch(1, FRAMES, rng, 1.0 if m else -1.0, 1.0 if color else -1.0)
            flat = x.transpose(1, 2).flatten(0, 1)
            small = F.interpolate(flat, size=(32, 32), mode="area")
            for frames, stride in ((flat, 127), (small, 31)):
                numbers = frames.permute(0, 2, 3, 1).flatten()[::stride].double().numpy()
                out.append(np.round((numbers + 1) * 32767.5).astype("<u2"))
    return np.concatenate(out)


def validation(data, folder):
    subjects = set()
    for shard in glob.glob(os.path.join(folder, "*.tar")):
        with tarfile.open(shard) as tar:
            subjects |= {json.load(tar.extractfile(m))["subject"] for m in tar if m.name.endswith(".json")}
    return sorted(s for s in subjects if data.is_validation(s))


def main(reference, folder, out):
    sys.path.insert(0, reference)
    import data
    os.makedirs(out, exist_ok=True)
    scenes(data).tofile(os.path.join(out, "scenes.bin"))
    with open(os.path.join(out, "validation.txt"), "w") as file:
        file.writelines(s + "\n" for s in validation(data, folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
