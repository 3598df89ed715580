"""Makes data/emoji/stills-3d.tar from still shards that hold several drawing styles side by side.

    repack_stills.py OUT.tar SHARD.tar ...

Keeps the part of each picture drawn in style 3d, as lossless WebP with the colours under alpha 0 kept too, and sets
"styles" to ["3d"] in the record. Reads the result back and compares every pixel. Needs numpy and Pillow.
"""
import io
import json
import sys
import tarfile

import numpy as np
from PIL import Image

STYLE = "3d"


def records(path):
    parts = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, ext = member.name.split(".", 1)
            parts.setdefault(key, {})[ext] = tar.extractfile(member).read()
    return parts


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def style_part(part):
    record, size = json.loads(part["json"]), json.loads(part["json"])["size"]
    at = record["styles"].index(STYLE) * size
    return record, pixels(part["webp"])[:, at:at + size]


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def main(out, shards):
    kept = {}
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for shard in shards:
            for key, part in records(shard).items():
                if STYLE not in json.loads(part["json"])["styles"]:
                    continue
                record, image = style_part(part)
                record["styles"] = [STYLE]
                coded = io.BytesIO()
                Image.fromarray(image).save(coded, "WEBP", lossless=True, exact=True, quality=100, method=6)
                add(tar, key + ".webp", coded.getvalue())
                add(tar, key + ".json", json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode())
                kept[key] = image
    again = records(out)
    assert list(again) == list(kept)
    different = sum(not np.array_equal(pixels(again[key]["webp"]), image) for key, image in kept.items())
    print(f"{len(kept)} stills, {different} differ from their source")
    return different != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
