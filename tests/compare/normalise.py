"""What differs from run to run of one and the same build, and stands in no comparison: times and what is measured.
Every rule names the commands that it is for; nothing else is touched."""
import json
import re
import struct

NUMBER = r"[0-9.]+(?:e[+-]?[0-9]+)?"
DURATION = r"(?:[0-9.]+ s|[0-9]+ min [0-9]{2} s|[0-9]+ h [0-9]{2} min)"

# (commands, what is found, what stands in its place), on standard output and standard error
TEXT_RULES = [(re.compile(r"^(%s)$" % commands), re.compile(found, re.M), text) for commands, found, text in (
    # the estimate of the time, the time that it took, the time that is left
    ("generate|animate|inpaint|outpaint|cinemagraph|edit|stylize|upscale", r"about %s and " % DURATION, "about T and "),
    ("generate|animate|inpaint|outpaint|cinemagraph|edit|stylize|upscale", r"((?:^|\x1b\[K)wrote .*) in %s$" % DURATION,
     r"\1 in T"),
    ("generate|animate|inpaint|outpaint|cinemagraph|edit|stylize|upscale", r'"seconds":%s' % NUMBER, '"seconds":T'),
    (".*", r'"seconds_left":-?%s' % NUMBER, '"seconds_left":T'),
    (".*", r"\b%s left(?=\x1b\[K)" % DURATION, "T left"),
    # memory that is free at the moment
    ("doctor", r"^(ok    memory: )[0-9.]+ GB free", r"\1M free"),
    (".*", r"\b[0-9.]+ [MGT]B are free", "M are free"),
    ("doctor", r"about [0-9]+ s and ", "about T and "),
    # what bench measures
    ("bench", r"peak of registers alone: [0-9.]+", "peak of registers alone: P"),
    ("bench", r"[0-9.]+ s fastest, [0-9.]+ s median", "T fastest, T median"),
    ("bench", r" *[0-9.]+ GFLOP/s", " G GFLOP/s"),
    ("bench", r"(?<=GFLOP/s) *(,?) +[0-9.]+ %", r"\1 P %"),
    ("bench", r" *[0-9.]+ ms", " T ms"),
    ("bench", r"[0-9.]+ MB measured, ([0-9.]+ MB planned) \([^)]*\); oneDNN's code: [0-9.]+ MB", r"M measured, \1"),
    ("bench", r'"(seconds_min|seconds_median|gflops|peak_gflops|peak_share|peak_bytes|code_bytes)":-?%s' % NUMBER,
     r'"\1":N'),
)]


def normal_text(command, text):
    for commands, found, instead in TEXT_RULES:
        if commands.match(command):
            text = found.sub(instead, text)
    if command == "bench":  # a row's kinds of node, which it sorts by their times
        text = sort_runs(text, re.compile(r"  \S+ +[0-9]+ nodes "))
    return text


def sort_runs(text, wanted):
    """Neighbouring lines that match, sorted."""
    out, run = [], []
    for line in text.split("\n"):
        if wanted.match(line):
            run.append(line)
            continue
        out += sorted(run) + [line]
        run = []
    return "\n".join(out + sorted(run))


def normal_file(name, data):
    """A file's bytes without the time that a training run took."""
    if name.endswith("metrics.csv"):
        return re.sub(rb"^([0-9]+,[0-9]+),[0-9.]+,", rb"\1,T,", data, flags=re.M)
    if name.endswith("checkpoint.safetensors"):
        return without_seconds(data)
    return data


def without_seconds(data):
    """A checkpoint with its header as it is read, less the metadata's seconds."""
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + size].decode())
    header.get("__metadata__", {}).pop("seconds", None)
    return json.dumps(header).encode() + data[8 + size:]
