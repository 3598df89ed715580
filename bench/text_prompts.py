#!/usr/bin/env python3
"""Writes text_prompts.json, the prompts of evaluate_text.py: drawn once from a seed, and some by hand that occur in no caption.

    bench/text_prompts.py [--data data/emoji] [--output bench/text_prompts.json]

Each prompt stands with what it asks for: [prompt, subject, motion, colour, seed]; subject by its code points, motion and colour as training names them or null.
Any first part of a row is spread over motions and colours, so that a shorter run takes the first so many.
"""
import argparse
import json
import os
import random
import tarfile

from renderings import COLOURS, PATHS, is_left_out, read_stills

SEED = 20261127
# What is said, the caption of what is meant, and the colour of the background.
WORDINGS = [
    ("a small red rocket ship flying", "a rocket", None), ("a spaceship taking off into the sky", "a rocket", None),
    ("a cute little honey bee buzzing around", "a honeybee", None), ("my pet cat looking at me", "a cat face", None),
    ("the face of a friendly puppy", "a dog face", None), ("a slice of pepperoni pizza", "a pizza", None),
    ("a juicy ripe red apple fruit", "a red apple", None), ("a big gray elephant standing", "an elephant", None),
    ("a penguin from the antarctic", "a penguin", None), ("a slow turtle with a green shell", "a turtle", None),
    ("an orange octopus with eight arms", "an octopus", None), ("a fast formula one car on the track", "a racing car", None),
    ("a black and white football used in soccer", "a soccer ball", None), ("an orange ball for playing basketball", "a basketball", None),
    ("a tasty cheeseburger from a diner", "a hamburger", None), ("a sweet cupcake from the bakery", "a cupcake", None),
    ("a bunch of purple grapes", "grapes", None), ("a fresh strawberry picked today", "a strawberry", None),
    ("a slice of watermelon in summer", "a watermelon", None), ("an orange carrot from the garden", "a carrot", None),
    ("a decorated tree for christmas eve", "a christmas tree", None), ("a snow man with a hat and scarf", "a snowman", None),
    ("a lit light bulb, somebody had an idea", "a light bulb", None), ("a golden bell ringing loudly", "a bell", None),
    ("the golden crown of a king", "a crown", None), ("a shiny diamond jewel", "a gem stone", None),
    ("an old brass key for a door", "an old key", None), ("a pair of scissors cutting paper", "scissors", None),
    ("a jazz player's golden sax", "a saxophone", None), ("a brass trumpet playing jazz", "a trumpet", None),
    ("a hot mug of coffee", "a hot beverage", None), ("a cold pint of beer with foam", "a beer mug", None),
    ("a birthday cake with burning candles for a party", "a birthday cake", None),
    ("a colorful tropical butterfly fluttering its wings", "a butterfly", None), ("a red ladybug with black dots", "a lady beetle", None),
    ("a spiky green cactus in the desert", "a cactus", None), ("a tall sunflower in a field", "a sunflower", None),
    ("a red rose for my valentine", "a rose", None), ("a mighty t rex dinosaur roaring", "a t-rex", None),
    ("a great white shark swimming", "a shark", None), ("a happy dolphin jumping out of the sea", "a dolphin", None),
    ("the head of a little mouse with big ears", "a mouse face", None), ("a fox with orange fur", "a fox", None),
    ("a wise old owl at night", "an owl", None), ("a magical unicorn's head with a horn", "a unicorn", None),
    ("a pink pig's head", "a pig face", None), ("a green frog sitting on a lily pad", "a frog", None),
    ("a glossy red heart, full of love", "a red heart", None), ("a scary white ghost for halloween", "a ghost", None),
    ("a carved halloween pumpkin", "a jack-o-lantern", None), ("a little robot's metal head", "a robot", None),
    ("a pile of brown poop that smiles", "a pile of poo", None), ("a school bus picking up children", "a bus", None),
    ("a red fire truck rushing to a fire", "a fire engine", None), ("a farmer's green tractor", "a tractor", None),
    ("a helicopter hovering in the air", "a helicopter", None), ("a sailing boat on the ocean", "a sailboat", None),
    ("an erupting volcano with lava", "a volcano", None), ("a seven-coloured rainbow after the rain", "a rainbow", None),
    ("a red umbrella in the rain", "an umbrella with rain drops", None), ("a cozy family home", "a house", None),
    ("planet saturn with its rings", "a ringed planet", None), ("an ufo visiting earth", "a flying saucer", None),
    ("a panda bear's head in front of blue", "a panda", "blue"), ("a zebra with stripes where everything behind it is green", "a zebra", "green"),
    ("a pink flamingo in front of a teal wall", "a flamingo", "teal"), ("a full moon in front of black, on a clear night", "a full moon", "black"),
    ("a teddy bear toy on pink paper", "a teddy bear", "pink"), ("a sour yellow lemon, all around it is purple", "a lemon", "purple"),
    ("a country singer's banjo on orange", "a banjo", "orange"),
]
MOTION_WORDS = {
    "moving from left to right": ["sliding to the right", "travelling rightwards across the picture"],
    "moving from right to left": ["sliding to the left", "travelling leftwards across the picture"],
    "rising from bottom to top": ["floating upwards", "climbing up into the sky"],
    "falling from top to bottom": ["dropping down", "sinking to the ground"],
    "bouncing up and down": ["hopping on the spot", "jumping up and down like a rubber ball"],
    "spinning clockwise": ["rotating to the right around its middle", "turning like the hands of a clock"],
    "spinning counterclockwise": ["rotating to the left around its middle", "turning anticlockwise"],
    "growing bigger": ["getting larger and larger", "swelling up"],
    "getting smaller": ["dwindling in size", "becoming tiny"],
    "swinging from side to side": ["rocking to and fro", "swaying left and right like a pendulum"],
    "moving in a circle": ["circling round and round", "going around in loops"],
    "zigzagging across": ["weaving up and down on its way to the right", "darting across in a zigzag line"],
}
COLOUR_WORDS = {
    "white": ["with a snow-white backdrop", "in front of blank paper"], "black": ["against a pitch-dark backdrop", "surrounded by jet black"],
    "gray": ["against a grey wall", "with ash-coloured surroundings"], "red": ["against a crimson backdrop", "in front of scarlet"],
    "orange": ["against a tangerine backdrop", "in front of amber-orange"], "yellow": ["against a lemon-coloured backdrop", "surrounded by golden yellow"],
    "green": ["against a grass-green backdrop", "in front of emerald"], "blue": ["against a royal blue backdrop", "in front of cobalt"],
    "light blue": ["against a sky-blue backdrop", "in front of pale azure"], "purple": ["against a violet backdrop", "surrounded by lavender purple"],
    "pink": ["against a rosy backdrop", "in front of bubblegum pink"], "brown": ["against a chocolate-coloured backdrop", "in front of a wooden brown"],
    "teal": ["against a turquoise backdrop", "in front of a dark cyan"],
}


def clip_records(folder):
    """Of the subjects that have a clip, skin tones apart."""
    for name in sorted(os.listdir(folder)):
        if name.startswith("train-anim"):
            with tarfile.open(os.path.join(folder, name)) as tar:
                yield from (json.loads(tar.extractfile(m).read()) for m in tar if m.name.endswith(".json"))


def spoken(caption, motion=None, colour=None):
    return caption + (f", {motion}" if motion else "") + (f", on a {colour} background" if colour else "")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default="data/emoji")
    ap.add_argument("--output", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "text_prompts.json"))
    a = ap.parse_args()
    stills, clips = read_stills(a.data), list(clip_records(a.data))
    said = {t for r in [*stills.values(), *clips] for t in (r["caption"], *r["paraphrases"], r.get("motion"))}
    subject_of = {r["caption"]: s for s, r in stills.items()}
    seen = [s for s in stills if not is_left_out(s)]
    rng = random.Random(SEED)
    caption = lambda s: stills[s]["caption"]
    motions = lambda n: [m for _ in range(-(-n // 12)) for m in rng.sample(list(PATHS), 12)][:n]
    colours = lambda n: [c for _ in range(-(-n // 13)) for c in rng.sample(list(COLOURS), 13)][:n]
    drawn = lambda n: list(zip(rng.sample(seen, n), motions(n), colours(n)))

    rows = {"stills": [[caption(s), s, None, None] for s in rng.sample(seen, 300)]}
    moved = ["bouncing up and down", "moving in a circle", "swinging from side to side"]  # stills of the others are mostly cut by an edge
    rows["stills-moved"] = [[spoken(caption(s), moved[i % len(moved)]), s, moved[i % len(moved)], None] for i, (_, s, _, _) in enumerate(rows["stills"])]
    rows["stills-small"] = [[spoken(caption(s), "growing bigger"), s, "growing bigger", None] for _, s, _, _ in rows["stills"]]
    rows["clips"] = [[spoken(caption(s), m, c), s, m, c] for s, m, c in drawn(144)]
    rows["unmoved"] = [[caption(s), s, None, None] for s, _, _ in drawn(40)]
    rng.shuffle(WORDINGS)
    rows["wordings"] = [[words, subject_of[meant], None, c] for words, meant, c in WORDINGS]
    phrases = [(m, k) for k in range(2) for m in rng.sample(list(PATHS), 12)]
    rows["motions"] = [[spoken(caption(s), MOTION_WORDS[m][k]), s, m, None] for (s, _, _), (m, k) in zip(drawn(48), phrases * 2)]
    phrases = [(c, k) for k in range(2) for c in rng.sample(list(COLOURS), 13)]
    rows["colours"] = [[f"{caption(s)}, {COLOUR_WORDS[c][k]}", s, None, c] for (s, _, _), (c, k) in zip(drawn(26), phrases)]
    acts = sorted({r["motion"] for r in clips if r.get("motion") and not is_left_out(r["subject"])})
    known = {(r["subject"], r["motion"]) for r in clips}
    pairs = [(s, rng.choice(acts), c) for s, _, c in drawn(60)]
    rows["pairs"] = [[spoken(caption(s), act, c), s, None, c] for s, act, c in pairs if (s, act) not in known][:40]
    rows["emoji"] = [["".join(chr(int(x, 16)) for x in s.split("-")), s, None, None] for s, _, _ in drawn(40)]
    left_out = [s for s in stills if is_left_out(s)]
    rng.shuffle(left_out)
    rows["left-out"] = [[spoken(caption(s), m, c), s, m, c] for s, m, c in zip(left_out, motions(len(left_out)), colours(len(left_out)))]

    for words, meant, _ in WORDINGS:
        assert words not in said and not is_left_out(subject_of[meant]), words
        assert not any(words.startswith(t + ",") for t in said if t), words
    heard = " ; ".join([t for t in said if t] + list(PATHS))
    for phrase in [p for ps in [*MOTION_WORDS.values(), *COLOUR_WORDS.values()] for p in ps]:
        assert phrase not in heard, phrase
    seed = 0
    with open(a.output, "w") as f:
        f.write("{\n")
        for i, (name, prompts) in enumerate(rows.items()):
            lines = []
            for p in prompts:
                seed += 1
                lines.append(json.dumps([*p, seed], ensure_ascii=False))
            f.write(f' "{name}": [\n  ' + ",\n  ".join(lines) + "\n ]" + (",\n" if i + 1 < len(rows) else "\n}\n"))


if __name__ == "__main__":
    main()
