"""What differs between two outcomes, and what of that expected.txt names. Its head says what stands in it."""
import difflib
import fnmatch
import re
import shlex
import struct

from cases import ListError

PLACES = ("exit", "stdout", "stderr", "file", "all")
SHOWN = 14  # lines of a difference


class Expected:
    """A place where cases may differ.

    change: None: whatever differs; (FROM, TO): FROM in the old text is TO in the new one; a pattern: what it finds is
    left out of both.
    """

    def __init__(self, pattern, place, change, where):
        self.pattern, self.place, self.change, self.where = pattern, place, change, where
        self.reason, self.uses = "", 0

    def concerns(self, case_name, place):
        if not fnmatch.fnmatchcase(case_name, self.pattern):
            return False
        return self.place == "all" or fnmatch.fnmatchcase(place, self.place)


def parse_place(words, fail):
    """stdout | stderr "FROM" -> "TO" | file NAME ~ "REGEX" | ...: place and change."""
    if words[0] not in PLACES:
        fail("what differs is one of %s, not \"%s\"" % (", ".join(PLACES), words[0]))
    place, rest = (words[0] + " " + words[1], words[2:]) if words[0] == "file" and words[1:] else (words[0], words[1:])
    if not rest:
        return place, None
    if len(rest) == 3 and rest[1] == "->":
        return place, (rest[0], rest[2])
    if len(rest) == 2 and rest[0] == "~":
        return place, re.compile(rest[1])
    return fail("after the place stands nothing, \"FROM\" -> \"TO\" or ~ \"REGEX\"")


def read_expected(path):
    """[Expected], in the file's order."""
    expected, block, pattern = [], [], None
    with open(path, encoding="utf-8") as file:
        lines = [(number, line.rstrip("\n")) for number, line in enumerate(file, 1)]
    for number, line in [item for item in lines if item[1].strip() and not item[1].startswith("#")] + [(None, "end")]:
        def fail(text, number=number):
            raise ListError("%s:%s: %s" % (path, number or "end", text))
        if line[0] != " ":  # case PATTERN
            if pattern is not None and not (block and all(entry.reason for entry in block)):
                fail("the case \"%s\" before this line lacks a place or a reason (why ...)" % pattern)
            if number and not line.startswith("case "):
                fail("a line begins with case, not with \"%s\"" % line.split()[0])
            expected, block, pattern = expected + block, [], line[5:].strip()
        elif pattern is None:
            fail("an indented line belongs to a case")
        elif line.split()[0] == "why":
            for entry in block:
                entry.reason = entry.reason or line.strip()[4:].strip()
        else:
            block.append(Expected(pattern, *parse_place(shlex.split(line), fail), "%s:%d" % (path, number)))
    return expected


class Difference:
    """place, number of the command line (None for files), both values (None: there is no such file)."""

    def __init__(self, place, number, old, new):
        self.place, self.number, self.old, self.new = place, number, old, new
        self.expected = []  # the entries that explain it


def paired(old, new):
    values = {(place, number): [value, None] for place, number, value in old.places()}
    for place, number, value in new.places():
        values.setdefault((place, number), [None, None])[1] = value
    return values


def compare(case_name, old, new, expected):
    """[Difference] of two outcomes; those that are expected name the entries, which count their uses."""
    out = []
    for (place, number), (a, b) in paired(old, new).items():
        if a != b:
            d = Difference(place, number, a, b)
            d.expected = explain([e for e in expected if e.concerns(case_name, place)], a, b)
            out.append(d)
    for entry in {id(e): e for d in out for e in d.expected}.values():
        entry.uses += 1
    return out


def explain(entries, old, new):
    """The entries that together make of old what new is; [] where they don't."""
    used = []
    a, b = (value.decode("latin-1") if isinstance(value, bytes) else value for value in (old, new))
    if a is not None and b is not None:
        for entry in [e for e in entries if e.change]:
            changed = apply_change(entry.change, a, b)
            if changed != (a, b):
                used.append(entry)
                a, b = changed
        if a == b:
            return used
    return [entry for entry in entries if not entry.change][:1]


def apply_change(change, old, new):
    if isinstance(change, tuple):
        return (old.replace(*change), new) if old != new else (old, new)
    return change.sub("", old), change.sub("", new)


def show(difference):
    """Lines that describe a difference, both sides in them."""
    old, new = difference.old, difference.new
    if old is None or new is None:
        return ["only %s has it" % ("new" if old is None else "old")]
    if difference.place == "exit":
        return ["old: %s" % old, "new: %s" % new]
    if isinstance(old, bytes):
        if b"\0" in old + new or difference.place.endswith(".npy"):
            return show_bytes(old, new)
        old, new = (data.decode("utf-8", "backslashreplace") for data in (old, new))
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "old", "new", lineterm="", n=0))[2:]
    lines = [line if len(line) < 400 else line[:400] + " ..." for line in lines if not line.startswith("@@")]
    return lines[:SHOWN] + (["... and %d lines more" % (len(lines) - SHOWN)] if len(lines) > SHOWN else [])


def show_bytes(old, new):
    at = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    text = "old: %d bytes, new: %d bytes, apart from byte %d on" % (len(old), len(new), at)
    if old[:6] == new[:6] == b"\x93NUMPY" and len(old) == len(new):
        start = 10 + struct.unpack_from("<H", old, 8)[0]
        apart = [abs(a - b) for a, b in zip(old[start:], new[start:]) if a != b]
        if at >= start:
            text = "%d of %d numbers differ, by at most %d of 255" % (len(apart), len(old) - start, max(apart))
    return [text]
