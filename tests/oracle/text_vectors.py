"""Makes the test vectors of the tokeniser and the text encoder with Hugging Face tokenizers and transformers.

python tests/oracle/text_vectors.py ORIGINAL SHARDS OUT [--check FOLDER] [--exact FOLDER]

ORIGINAL: the published all-MiniLM-L6-v2. SHARDS: a folder of tar shards whose captions are used. OUT: tests/data/text.
tokens.json: [{"text", "ids"}], ids with [CLS] and [SEP], not cut. states.safetensors: the original's last hidden state in fp32 of the
real tokens of the first 32 (cut as the encoder cuts), one after the other for all texts [sum of tokens, width] in F16.
tiny.safetensors: the same of a tiny BERT in F32 whose weights follow formula() below.
--check FOLDER: prints the smallest cosine and largest difference with the weights of FOLDER (as converted) for the real tokens.
--exact FOLDER: writes states.safetensors in F32 there as well, for LUMIERE_MINILM in tests/net/test_text_encoder.c.
"""
import argparse
import json
import math
import pathlib
import tarfile

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

MADE = [
    "", " ", "   a\tcat \n on a  mat ", "Hello, World!", "DON'T shout: it's 3.14% of $5^2 ~ `x`?", "e-mail@example.org/path?q=1&r=[2]",
    "café au lait", "CAFÉ naïve façade Ångström coöperate", "Crème brûlée à la carte", "cafe\u0301 with a combining acute",
    "a\u0300\u0316\u0301b\u0323\u0307", "İstanbul ve ışık", "Straße GROẞ ŒUVRE Æsir", "ﬁne ﬂow ﬀ", "Ａ ｆｕｌｌ　ｗｉｄｔｈ　ｃａｐｔｉｏｎ",
    "Ωμέγα ΣΊΣΥΦΟΣ", "Привет, мир! Ёлка и йод", "Київ їжак ґанок", "Việt Nam đẹp quá", "Türkçe şğıöçü", "čeština žluťoučký kůň",
    "שלום עולם", "שָׁלוֹם", "مرحبا بالعالم", "العَرَبِيَّة", "हिन्दी में कुत्ता", "বাংলা ভাষা", "தமிழ் மொழி", "ภาษาไทยไม่มีช่องว่าง", "แมวน่ารักกำลังนอน",
    "ລາວ", "မြန်မာ", "ខ្មែរ", "བོད་ཡིག", "ქართული", "Հայերեն", "አማርኛ", "한국어 고양이", "안녕하세요 세계", "日本語の猫", "東京タワー", "カタカナ ｶﾀｶﾅ ガギグ",
    "ひらがな がぎぐ", "中文字幕 一只猫", "漢字kanji混ぜ", "𠀀𠮷野家", "\uf900\uf901 \U0002f800", "繁體中文，標點。", "a rocket 🚀 flies", "🚀🔥🎉",
    "👩\u200d🚀 astronaut", "👍🏽 ok", "1️⃣ 2️⃣", "🇩🇪 flag", "❤️ red heart", "☃ snow ★ star ♫", "a😀b", "(╯°□°）╯︵ ┻━┻", "x² + y³ = z⁴ ½ ⅓",
    "∀x∈ℝ: x≤∞", "price: 5€ £3 ¥100 ₹20", "“quoted” ‘single’ «guillemets» —dash– …", "¿Qué? ¡Sí!", "a_b-c/d\\e|f", "[mask] [MASK] x[SEP]y [CLS [PAD]",
    "##ing ## # hash##tag", "[UNK]", "zero\u200bwidth\u200djoin\ufeffbom", "soft\u00adhyphen", "tab\tnew\nline\rreturn", "bell\x07 and \x1b[31mred\x7f",
    "vertical\x0btab form\x0cfeed next\x85line", "nbsp\u00a0here\u2003em\u3000ideographic", "line\u2028para\u2029graph", "replacement \ufffd char",
    "private \ue000\uf8ff use", "unassigned \u0378 \U0001fbff", "supercalifragilisticexpialidocious", "a" * 100, "b" * 101, "ab" * 60 + " short",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis", "x " * 40, "word" * 25, "é" * 100, "é" * 101, "!" * 40,
    "a dog, a cat, a bird, a fish, a cow, a horse, a sheep, a goat, a pig, a duck, a hen, a rat, an ox", "42 1234567890 3,141.59 0x1F",
    "O'Neill's rock'n'roll", "U.S.A. vs. E.U.", "http://例え.テスト", "K\u212a Å\u212b Ω\u2126", "\u1e9b\u0323 \u0958 \u0f73", "q\u0307\u0323 \ud55c\u1112",
    "\u0301leading accent", "\u0301", "\u20e3 enclosing", "ः visarga", "ǅ ǈ Ǆ title", "Ꭰꭰ cherokee", "𝒜𝓑 math 𝟘", "𐐀𐐨 deseret", "ﷺ ligature", "ª º ordinal",
    "a rocket, moving from left to right", "A Rocket, Moving From Left To Right", "a grinning face on a blue background, flat style",
]


def captions(shards, count):
    """count captions, evenly from all shards: main captions and paraphrases by turns."""
    found = []
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            for m in tar:
                if m.name.endswith(".json"):
                    r = json.load(tar.extractfile(m))
                    texts = [r["caption"]] + r["paraphrases"]
                    found.append(texts[len(found) % len(texts)])
    found = list(dict.fromkeys(found))
    return [found[i * len(found) // count] for i in range(count)]


def formula(shape, seed, scale):
    """Element i is scale * sin(0.37 i + seed); computed in double, rounded to float."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.37 * i + seed)).float().reshape(shape)


def tiny():
    """A BERT of width 16 with 2 layers of 2 heads; parameter number k in the order of its sorted names gets formula(k)."""
    config = BertConfig(vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                        max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-12, hidden_act="gelu")
    model = BertModel(config, add_pooling_layer=False).eval()
    names = sorted(n for n, _ in model.named_parameters())
    params = dict(model.named_parameters())
    with torch.no_grad():
        for k, n in enumerate(names):
            p = params[n]
            gain = n.endswith("LayerNorm.weight")
            p.copy_(formula(p.shape, k, 0.5 if p.dim() == 2 else 0.2) + (1.0 if gain else 0.0))
    return model


def states(model, ids, length=32):
    """Real tokens of ids cut to length, computed with padding and mask as the encoder does."""
    cut = ids if len(ids) <= length else ids[:length - 1] + [ids[-1]]
    x = torch.tensor([cut + [0] * (length - len(cut))])
    mask = torch.tensor([[1] * len(cut) + [0] * (length - len(cut))])
    with torch.no_grad():
        return model(input_ids=x, attention_mask=mask).last_hidden_state[0, :len(cut)]


def load(folder, exact):
    c = json.loads((folder / "config.json").read_text())
    model = BertModel(BertConfig(hidden_act="gelu", **{k: v for k, v in c.items() if "size" in k or "num" in k or "max" in k or "eps" in k}),
                      add_pooling_layer=False).eval()
    raw = load_file(folder / "model.safetensors")
    w = {n: t.float() * (raw[n + ".scale"][:, None] if n + ".scale" in raw else 1) for n, t in raw.items()
         if not n.endswith((".scale", "position_ids")) and not n.startswith("pooler.")}
    missing, unexpected = model.load_state_dict(w, strict=False)
    assert not unexpected and not [m for m in missing if "position_ids" not in m], (missing, unexpected)
    return model


def main():
    a = argparse.ArgumentParser()
    a.add_argument("original", type=pathlib.Path)
    a.add_argument("shards", type=pathlib.Path)
    a.add_argument("out", type=pathlib.Path)
    a.add_argument("--check", type=pathlib.Path)
    a.add_argument("--exact", type=pathlib.Path)
    a = a.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(a.original / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = captions(a.shards, 150) + MADE
    rows = [{"text": t, "ids": tokenizer.encode(t).ids} for t in texts]
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "tokens.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")

    model = load(a.original, True)
    all_states = [states(model, r["ids"]) for r in rows]
    save_file({"states": torch.cat(all_states).half()}, a.out / "states.safetensors")
    if a.exact:
        save_file({"states": torch.cat(all_states)}, a.exact / "states.safetensors")
    print(len(rows), "texts,", sum(len(s) for s in all_states), "states, largest", float(torch.cat(all_states).abs().max()))
    t = tiny()
    tiny_ids = [[2, 5, 6, 7, 3], [2, 3], [2] + [5, 6, 7, 8, 9, 10] * 6 + [3]]
    save_file({f"states{i}": states(t, ids).contiguous() for i, ids in enumerate(tiny_ids)}, a.out / "tiny.safetensors")
    if a.check:
        other = load(a.check, False)
        x, y = torch.cat(all_states), torch.cat([states(other, r["ids"]) for r in rows])
        cos = torch.nn.functional.cosine_similarity(x, y, dim=1)
        print("cosine: smallest", float(cos.min()), "mean", float(cos.mean()), "largest difference", float((x - y).abs().max()))


main()
