#!/usr/bin/env python3
"""Makes a folder of small files with a lumiere command: networks, a text encoder, run files, a model trained with them,
checkpoints, a style and clips. tests/compare/files-0.1 is what the command of version 0.1 (1a6d2b0) left.

    tests/compare/make_files.py build/lumiere tests/compare/files-NEW      (from the repository's root)
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

WORDS = ("[PAD] [UNK] [CLS] [SEP] [MASK] a the fish rocket bee cat face flower house mushroom moving from left right to"
         " on background red green blue yellow white , . ##s").split()
WIDTH, INNER, POSITIONS = 16, 32, 32  # of the text encoder

NETWORK = {"in_channels": 3, "cond_channels": 0, "out_channels": 3, "patch": 1, "channels": [8, 16], "res_blocks": 1,
           "attention": [False, True], "head_dim": 8, "groups": 4, "text_width": WIDTH, "embed_width": 16,
           "noise_level_cond": False, "video": False}
SSR_NETWORK = {"in_channels": 3, "cond_channels": 3, "out_channels": 3, "patch": 4, "channels": [8, 16],
               "res_blocks": 1, "attention": [False, False], "head_dim": 8, "groups": 4, "text_width": WIDTH,
               "embed_width": 16, "noise_level_cond": True, "residual_scale": 8, "video": True,
               "temporal_down": [False], "temporal_attention_blocks": 1, "max_frames": 16}
MODEL = {"format": 1, "name": "tiny", "version": "1", "licence": "Apache-2.0",
         "description": "Twenty steps of training: small and quick, and draws nothing",
         "parts": {"text": "text", "base": "base", "ssr": "ssr"},
         "styles": [{"name": "ink", "file": "styles/ink.safetensors", "licence": "MIT", "description": "chalk of twenty steps"}],
         "defaults": {"frames": 4, "width": 16, "height": 16, "fps": 8, "steps": 2, "cfg_scale": 3,
                      "upscale_steps": 1, "upscale_noise": 0}}

COMMON = """text: files/model/text
steps: 20
batch: 2
warmup: 3
learning_rate: 2.0e-3
cooldown: 0
log_every: 5
validate_every: 10
validation_clips: 4
sample_every: 20
sample_steps: 2
sample_prompts: [a rocket, 'a fish, moving from left to right']
seed: 4
"""
RUNS = {
    "image": "stage: image\ndata: [data/emoji/train-anim-001.tar]\nconfig: files/networks/image.json\n"
             "out: image\nsize: 16\n",
    "video": "stage: video\ndata: [data/emoji/train-anim-001.tar]\ninit: files/runs/image\nout: video\nsize: 16\n"
             "frames: 4\n",
    "ssr": "stage: ssr\ndata: [data/emoji/train-anim-001.tar]\nconfig: files/networks/ssr.json\nout: ssr\nsize: 64\n"
           "crop: 32\nframes: 4\n",
    "style": "stage: style\nstyle_name: ink\nstyle_licence: MIT\nstyle_rank: 2\ndata: [data/styles/chalk]\n"
             "init: files/model/base\nout: style\nsize: 16\nmotion_share: 0\ncolor_share: 0\n",
}


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def write_png(path, width, height, channels, pixel):
    """pixel(x, y) gives a tuple of channels bytes."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    write(path, b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def text_shapes():
    layer = "encoder.layer.0."
    yield "embeddings.word_embeddings.weight", (len(WORDS), WIDTH)
    yield "embeddings.position_embeddings.weight", (POSITIONS, WIDTH)
    yield "embeddings.token_type_embeddings.weight", (2, WIDTH)
    for name, rows, columns in (("attention.self.query", WIDTH, WIDTH), ("attention.self.key", WIDTH, WIDTH),
                                ("attention.self.value", WIDTH, WIDTH), ("attention.output.dense", WIDTH, WIDTH),
                                ("intermediate.dense", INNER, WIDTH), ("output.dense", WIDTH, INNER)):
        yield layer + name + ".weight", (rows, columns)
        yield layer + name + ".bias", (rows,)
    for name in ("embeddings.LayerNorm", layer + "attention.output.LayerNorm", layer + "output.LayerNorm"):
        yield name + ".weight", (WIDTH,)
        yield name + ".bias", (WIDTH,)


def write_text_encoder(folder):
    numbers, header, body = random.Random(5), {}, b""
    for name, shape in text_shapes():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        middle = 1 if name.endswith("LayerNorm.weight") else 0
        data = struct.pack("<%df" % count, *(middle + numbers.gauss(0, 0.3) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":"))
    text += " " * (-len(text) % 8)
    write(folder + "/model.safetensors", struct.pack("<Q", len(text)) + text.encode() + body)
    write(folder + "/vocab.txt", "\n".join(WORDS) + "\n")
    config = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": INNER,
              "vocab_size": len(WORDS), "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
              "layer_norm_eps": 1e-12}
    write(folder + "/config.json", json.dumps(config) + "\n")


def write_inputs(files):
    """A picture with transparency, a mask of its size, and a clip of six frames with a moving square."""
    write_png(files + "/picture.png", 24, 20, 4, lambda x, y: (10 * x, 12 * y, 128, 255 if x + y > 6 else 60))
    write_png(files + "/mask.png", 24, 20, 1, lambda x, y: (255 if 8 <= x < 16 and 5 <= y < 15 else 0,))
    for frame in range(6):
        inside = lambda x, y, f=frame: 2 * f <= x < 2 * f + 8 and 6 <= y < 14
        write_png("%s/clip/%03d.png" % (files, frame), 24, 20, 3,
                  lambda x, y: (220, 40 + 5 * y, 30) if inside(x, y) else (200 - 4 * x, 200, 90 + 6 * y))


class Maker:
    """Runs the command in a folder where `files` is the folder that is made and `data` the repository's."""

    def __init__(self, command, files, work):
        self.command, self.files, self.work = os.path.abspath(command), os.path.abspath(files), work
        os.makedirs(files)
        os.symlink(self.files, work + "/files")
        os.symlink(os.path.abspath("data"), work + "/data")

    def lumiere(self, *arguments):
        subprocess.run([self.command, *arguments, "--threads", "2", "--precision", "fp32"], cwd=self.work, check=True)

    def copy(self, name, to):
        os.makedirs(os.path.dirname(self.files + "/" + to), exist_ok=True)
        shutil.copy(self.work + "/" + name, self.files + "/" + to)

    def train(self, stage, kept, to, *settings):
        """Trains, and copies what is kept of the run's folder."""
        self.lumiere("train", "files/%s.yaml" % stage, *(word for s in settings for word in ("--set", s)))
        for name in kept:
            self.copy("%s/%s" % (stage, name), "%s/%s" % (to, name))

    def make_texts(self):
        for stage, text in RUNS.items():
            write("%s/%s.yaml" % (self.files, stage), text + COMMON)
        write(self.files + "/networks/image.json", json.dumps(NETWORK) + "\n")
        write(self.files + "/networks/ssr.json", json.dumps(SSR_NETWORK) + "\n")
        write(self.files + "/model/model.json", json.dumps(MODEL, indent=1) + "\n")

    def make_model(self):
        weights = ("config.json", "model.safetensors")
        self.train("image", weights, "runs/image")
        self.train("video", weights, "model/base")
        self.train("ssr", weights, "model/ssr")
        self.train("style", ("ink.safetensors",), "model/styles")

    def make_checkpoint(self):
        """Of the first half of the video stage; and the figures of the whole of it, which a resumed run is to repeat."""
        self.copy("video/metrics.csv", "runs/video/whole.csv")
        shutil.rmtree(self.work + "/video")
        self.train("video", ("checkpoint.safetensors", "metrics.csv"), "runs/video", "steps=10")

    def make_clips(self):
        common = ("--model", "files/model", "--seed", "7")
        for ending in ("mp4", "npy"):
            self.lumiere("generate", "a rocket, moving from left to right", *common, "--no-upscale", "-o", "made." + ending)
        self.lumiere("stylize", "a fish", *common, "--style", "ink", "--upscale", "-f", "2", "-o", "styled.npy")
        for name in ("made.mp4", "made.mp4.json", "made.npy", "made.npy.json", "styled.npy", "styled.npy.json"):
            self.copy(name, name)


def main():
    if len(sys.argv) != 3 or not os.path.isdir("data/emoji"):
        sys.exit("usage, in the repository's root: tests/compare/make_files.py LUMIERE FOLDER")
    with tempfile.TemporaryDirectory() as work:
        maker = Maker(sys.argv[1], sys.argv[2], work)
        maker.make_texts()
        write_text_encoder(maker.files + "/model/text")
        write_inputs(maker.files)
        maker.make_model()
        maker.make_checkpoint()
        maker.make_clips()


if __name__ == "__main__":
    main()
