"""Captions of shards as token ids, and the text encoder with the vocabulary that they use: what train_gpu.py reads.

    python3 pack_captions.py models/emoji/text OUT.npz SHARDS...       needs transformers (tokeniser only), numpy
"""
import json
import os
import sys

import numpy as np

from train_gpu import read_shards


COLORS = ["white", "black", "gray", "red", "orange", "yellow", "green", "blue", "light blue", "purple", "pink", "brown", "teal"]
MOTIONS = ["moving from left to right", "moving from right to left", "rising from bottom to top", "falling from top to bottom", "bouncing up and down",
           "spinning clockwise", "spinning counterclockwise", "growing bigger", "getting smaller", "swinging from side to side", "moving in a circle",
           "zigzagging across"]
PROMPTS = ["a rocket, moving from left to right", "a rocket, moving from right to left", "a red heart, rising from bottom to top", "a cat face",
           "a soccer ball, bouncing up and down", "a red apple, falling from top to bottom, on a light blue background", "a bee, on a yellow background",
           "a grinning face, on a purple background", "a pizza, spinning clockwise", "a star, growing bigger, on a blue background",
           "a smiling face with sunglasses", "a dog face, on a green background", "a car, moving from right to left, on a yellow background",
           "a tree, on a pink background", "a fish, swinging from side to side", "a balloon, moving in a circle", "a ghost", "a snowman, on a teal background",
           "a hamburger, getting smaller", "a thumbs up, zigzagging across"]


def read_text_encoder(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        head, data = json.loads(f.read(size)), f.read()
    kinds, z = {"F16": np.float16, "F32": np.float32, "I8": np.int8}, {}
    for k, v in head.items():
        if k != "__metadata__":
            a, b = v["data_offsets"]
            z[k] = np.frombuffer(data[a:b], kinds[v["dtype"]]).reshape(v["shape"])
    return z


def main():
    from transformers import BertTokenizer
    folder, out, shards = sys.argv[1], sys.argv[2], sys.argv[3:]
    tokenizer = BertTokenizer(os.path.join(folder, "vocab.txt"), do_lower_case=True)
    vocabulary = {}

    def ids(text):
        return [vocabulary.setdefault(t, len(vocabulary)) for t in tokenizer.encode(text, add_special_tokens=False)]
    vocabulary[tokenizer.pad_token_id] = 0
    comma, cls, sep = ids(",")[0], *(vocabulary.setdefault(t, len(vocabulary)) for t in (tokenizer.cls_token_id, tokenizer.sep_token_id))
    records = {}
    for s in shards:
        for r, _ in read_shards(s):
            words = [r["caption"], *r["paraphrases"]], r.get("motion")
            assert records.setdefault(r["key"], words) == words, r["key"]
    phrases = [""] + MOTIONS
    variants, start, count, says, own = [], [], [], [], []
    for names, motion in records.values():
        start.append(len(variants))
        count.append(len(names))
        variants += names
        says += [bool(motion and motion in n) for n in names]
        own.append(-1)
        if motion:
            if motion not in phrases:
                phrases.append(motion)
            own[-1] = phrases.index(motion)

    def table(texts, lead=[]):
        rows = [(lead + ids(t) if t else [])[:30] for t in texts]
        a = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for i, r in enumerate(rows):
            a[i, :len(r)] = r
        return a, np.array([len(r) for r in rows])
    z = {}
    z["variant_ids"], z["variant_length"] = table(variants)
    z["phrase_ids"], z["phrase_length"] = table(phrases, [comma])
    z["color_ids"], z["color_length"] = table([f"on a {c} background" for c in COLORS], [comma])
    p, length = table(PROMPTS)
    z["prompt_ids"] = np.zeros((len(p), 32), np.int64)
    for i, n in enumerate(length):
        z["prompt_ids"][i, 0], z["prompt_ids"][i, 1:1 + n], z["prompt_ids"][i, 1 + n] = cls, p[i, :n], sep
    z["prompt_length"] = length + 2
    z["variant_start"], z["variant_count"], z["says_motion"], z["own_motion"] = map(np.array, (start, count, says, own))
    z["special"] = np.array([comma, cls, sep])
    z["records"] = np.frombuffer(json.dumps(list(records)).encode(), np.uint8)
    w = read_text_encoder(folder)
    for name, rows in (("word", list(vocabulary)), ("position", slice(32))):
        for end in ("", ".scale"):
            k = f"embeddings.{name}_embeddings.weight{end}"
            if k in w:
                w[k] = w[k][rows]
    z.update({k: v.astype(np.float16) if v.ndim == 2 and v.dtype == np.float32 else v for k, v in w.items() if k.startswith(("embeddings", "encoder"))})
    np.savez_compressed(out, **z)
    np.save(out + ".vocabulary.npy", np.array(list(vocabulary)))
    print(len(records), "records,", len(variants), "names,", len(phrases), "phrases,", len(vocabulary), "tokens")


if __name__ == "__main__":
    main()
