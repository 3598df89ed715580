"""Captions of shards as token ids, and the text encoder with the vocabulary that they use: what train_gpu.py reads.

    python3 pack_captions.py models/emoji/text OUT.npz SHARDS...       needs torch, numpy
"""
import json
import os
import sys
import unicodedata

import numpy as np

from train_gpu import read_shards


COLORS = ["white", "black", "gray", "red", "orange", "yellow", "green", "blue", "light blue", "purple", "pink", "brown", "teal"]
MOTIONS = ["moving from left to right", "moving from right to left", "rising from bottom to top", "falling from top to bottom", "bouncing up and down",
           "spinning clockwise", "spinning counterclockwise", "growing bigger", "getting smaller", "swinging from side to side", "moving in a circle",
           "zigzagging across"]
# As in src/train/captions.c: other words for the motions, the colour, and the subject with its article and without.
MOTION_WORDS = [
    ["going from left to right", "crossing the picture from the left", "gliding to the right", "moving rightwards",
     "travelling from the left side to the right side"],
    ["going from right to left", "crossing the picture from the right", "gliding to the left", "moving leftwards",
     "travelling from the right side to the left side"],
    ["rising", "moving upwards", "going up from below", "ascending", "lifting off from the bottom"],
    ["falling", "moving downwards", "coming down from above", "descending", "tumbling from the top"],
    ["bouncing", "bouncing like a ball", "leaping up and down", "springing up and down", "bobbing up and down"],
    ["rotating clockwise", "turning clockwise", "revolving clockwise", "spinning to the right", "whirling clockwise"],
    ["rotating counterclockwise", "turning counterclockwise", "revolving counterclockwise", "spinning to the left", "whirling counterclockwise"],
    ["growing", "getting bigger", "becoming larger", "coming closer", "expanding"],
    ["shrinking", "becoming smaller", "diminishing", "going away into the distance", "contracting"],
    ["swinging", "swinging left and right", "swaying from side to side", "rocking from side to side", "tilting left and right"],
    ["going around in a circle", "moving around in circles", "orbiting the middle", "travelling along a circle", "flying in circles"],
    ["zigzagging", "zigzagging to the right", "moving in a zigzag", "going along a zigzag line", "wobbling across from left to right"]]
COLOR_WORDS = ["on a {} background", "with a {} background", "{} background", "in front of a {} background", "the background is {}"]
SUBJECT_WORDS = ["", "a drawing of", "an emoji of", "a cartoon of", "there is", "", "the", "one", "a cute", "a picture of one"]    # from 5 on: bare
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


def tokeniser(folder):
    """BERT's, uncased: text -> ids. For captions: no ideographs, no control characters."""
    with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as f:
        known = {w.rstrip("\n"): i for i, w in enumerate(f)}

    def pieces(word):
        out, at = [], 0
        while at < len(word):
            ends = [e for e in range(len(word), at, -1) if ("##" if at else "") + word[at:e] in known]
            if not ends:
                return [known["[UNK]"]]
            out.append(known[("##" if at else "") + word[at:ends[0]]])
            at = ends[0]
        return out

    def ids(text):
        plain = [c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn"]
        alone = [f" {c} " if unicodedata.category(c)[0] == "P" or (c < "\x80" and c in "$+<=>^`|~") else c for c in plain]
        return [i for w in "".join(alone).split() for i in pieces(w)]
    return known, ids


def main():
    folder, out, shards = sys.argv[1], sys.argv[2], sys.argv[3:]
    pack(folder, out, shards)


def pack(folder, out, shards):
    known, original = tokeniser(folder)
    vocabulary = {}

    def ids(text):
        return [vocabulary.setdefault(t, len(vocabulary)) for t in original(text)]
    vocabulary[known["[PAD]"]] = 0
    comma, cls, sep = ids(",")[0], *(vocabulary.setdefault(known[t], len(vocabulary)) for t in ("[CLS]", "[SEP]"))
    records = {}
    for s in shards:
        for r, _ in read_shards(s):
            words = [r["caption"], *r["paraphrases"]], r.get("motion")
            assert records.setdefault(r["key"], words) == words, r["key"]
    phrases = ["", *MOTIONS, *(w for row in MOTION_WORDS for w in row)]
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

    def table(texts):
        rows = [ids(t)[:30] for t in texts]
        a = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for i, r in enumerate(rows):
            a[i, :len(r)] = r
        return a, np.array([len(r) for r in rows])
    z = {}
    z["variant_ids"], z["variant_length"] = table(variants)
    z["variant_bare"] = np.array([v.startswith(("a ", "an ")) for v in variants])
    z["phrase_ids"], z["phrase_length"] = table(phrases)
    z["color_ids"], z["color_length"] = table([w.format(c) for w in COLOR_WORDS for c in COLORS])
    z["subject_ids"], z["subject_length"] = table(SUBJECT_WORDS)
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
    print(len(records), "records,", len(variants), "names,", len(phrases), "phrases,", len(vocabulary), "tokens")


if __name__ == "__main__":
    main()
