"""Writes tests/data/media: small files from other programs, for tests/media/test_media_read.c.

usage: media_vectors.py FOLDER   (needs numpy, pillow and the ffmpeg command)

turned.jpg     16 x 8, left half red, right half blue, EXIF orientation 6: shown 8 x 16, red above
yuv444.webm    2 frames of 32 x 16, VP9 lossless yuv444p, no colour tags; flat stripes of Y, U, V as below
blend.webp     9 x 7 lossy WebP with alpha; blend.rgba its pixels as pillow decodes them
gray_alpha.png 4 x 3, value 10 * x + y, alpha 255 - 60 * x
"""
import os
import subprocess
import sys

import numpy as np
from PIL import Image

out = sys.argv[1]
os.makedirs(out, exist_ok=True)

picture = np.zeros((8, 16, 3), np.uint8)
picture[:, :8, 0] = 255
picture[:, 8:, 2] = 255
exif = Image.Exif()
exif[0x112] = 6
Image.fromarray(picture).save(f"{out}/turned.jpg", quality=95, exif=exif, subsampling=0)

# frame f, stripe s of 8 columns: Y = 40 + 50 s + 10 f, U = 90 + 20 s, V = 160 - 20 s
clip = np.zeros((2, 3, 16, 32), np.uint8)
for f in range(2):
    for s in range(4):
        for plane, value in enumerate((40 + 50 * s + 10 * f, 90 + 20 * s, 160 - 20 * s)):
            clip[f, plane, :, 8 * s:8 * s + 8] = value
subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", "32x16", "-r", "16",
                "-i", "-", "-c:v", "libvpx-vp9", "-lossless", "1", "-fflags", "+bitexact", "-flags", "+bitexact",
                f"{out}/yuv444.webm"], input=clip.tobytes(), check=True)

y, x = np.mgrid[0:7, 0:9]
rgba = np.stack([25 * x, 30 * y, 200 - 10 * x, 255 - 28 * x], -1).astype(np.uint8)
Image.fromarray(rgba).save(f"{out}/blend.webp", quality=80, exact=True)
np.array(Image.open(f"{out}/blend.webp").convert("RGBA")).tofile(f"{out}/blend.rgba")

y, x = np.mgrid[0:3, 0:4]
Image.merge("LA", [Image.fromarray(a.astype(np.uint8)) for a in (10 * x + y, 255 - 60 * x)]).save(f"{out}/gray_alpha.png")
