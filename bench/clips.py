"""Clips as nested lists of bytes, without other packages: .npy in, .png out."""
import ast
import struct
import zlib


class Clip:
    """frames x height x width x 3 bytes."""

    def __init__(self, frames, height, width, data):
        self.frames, self.height, self.width, self.data = frames, height, width, data

    def pixel(self, t, y, x):
        i = ((t * self.height + y) * self.width + x) * 3
        return tuple(self.data[i:i + 3])

    def row(self, t, y):
        i = (t * self.height + y) * self.width * 3
        return self.data[i:i + self.width * 3]


def read_npy(path):
    with open(path, "rb") as f:
        raw = f.read()
    if raw[:6] != b"\x93NUMPY":
        raise ValueError(f"{path} is not an npy file")
    n = struct.unpack("<H", raw[8:10])[0]
    head = ast.literal_eval(raw[10:10 + n].decode())
    frames, height, width, channels = head["shape"]
    if head["descr"] != "|u1" or channels != 3:
        raise ValueError(f"{path} does not hold RGB bytes")
    return Clip(frames, height, width, raw[10 + n:])


def filtered(row, above):
    """A row of an RGB picture as PNG's filters none, sub, up or average leave it: that with the smallest values, which packs best."""
    left = b"\0\0\0" + row
    tries = (row, bytes((v - a) & 255 for v, a in zip(row, left)), bytes((v - b) & 255 for v, b in zip(row, above)),
             bytes((v - (a + b) // 2) & 255 for v, a, b in zip(row, left, above)))
    best = min(range(4), key=lambda k: sum(min(v, 256 - v) for v in tries[k]))
    return bytes([best]) + tries[best]


def write_png(path, width, height, rows):
    """rows: height bytes objects of width RGB pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(filtered(r, above) for r, above in zip(rows, [bytes(3 * width)] + rows[:-1]))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def write_sheet(path, clips, columns=10, scale=1):
    """One row a clip, evenly spaced frames, each pixel repeated scale times both ways."""
    rows = []
    for c in clips:
        pick = [round(i * (c.frames - 1) / max(columns - 1, 1)) for i in range(columns)]
        for y in range(c.height):
            line = b"".join(c.row(t, y) for t in pick)
            wide = b"".join(line[i:i + 3] * scale for i in range(0, len(line), 3))
            rows += [wide] * scale
    write_png(path, len(rows[0]) // 3, len(rows), rows)
