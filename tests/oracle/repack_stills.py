"""Makes data/emoji/stills-*.tar from still shards that hold several drawing styles side by side.

    repack_stills.py STYLE[,STYLE...] OUT.tar SHARD.tar ...

Keeps the parts of each picture drawn in these styles, side by side as lossless WebP with the colours under alpha 0 kept
too, and names them in "styles" of the record; pictures in none of them are left out. Reads the result back and compares
every pixel. Needs numpy and Pillow.
"""
import io
import json
import sys
import tarfile

import numpy as np
from PIL import Image


def records(path):
    parts = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, ext = member.name.split(".", 1)
            parts.setdefault(key, {})[ext] = tar.extractfile(member).read()
    return parts


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def style_part(part, wanted):
    record = json.loads(part["json"])
    image, size = pixels(part["webp"]), record["size"]
    kept = [style for style in wanted if style in record["styles"]]
    at = [record["styles"].index(style) * size for style in kept]
    record["styles"] = kept
    return record, np.concatenate([image[:, x:x + size] for x in at], axis=1) if kept else None


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def main(styles, out, shards):
    kept = {}
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for shard in shards:
            for key, part in records(shard).items():
                record, image = style_part(part, styles.split(","))
                if image is None:
                    continue
                coded = io.BytesIO()
                Image.fromarray(image).save(coded, "WEBP", lossless=True, exact=True, quality=75, method=3)
                add(tar, key + ".webp", coded.getvalue())
                add(tar, key + ".json", json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode())
                kept[key] = image
    again = records(out)
    assert list(again) == list(kept)
    different = sum(not np.array_equal(pixels(again[key]["webp"]), image) for key, image in kept.items())
    print(f"{len(kept)} stills, {different} differ from their source")
    return different != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
