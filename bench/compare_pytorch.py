#!/usr/bin/env python3
"""Times the same work in PyTorch and in `lumiere bench`, by turns, and prints the ratios.

    bench/compare_pytorch.py --python PATH [--lumiere build/lumiere] [--rows forward,image,video] [--threads 1,2]
                             [--dtype float32,bfloat16] [--malloc default,tuned] [--rounds 2] [--repeat 3] [--write]

--python is an interpreter that has torch. A measurement is a process of its own: PyTorch with each malloc setting, then lumiere with
the default malloc, --rounds times over for each row, number of threads and type. Each makes --repeat timed runs after one that does
not count. Shown is the median over rounds of the median of a round's runs and, in brackets, the fastest run of all; a ratio is
lumiere's median by PyTorch's, so below 1 lumiere is faster. Memory is the peak of the whole process (VmHWM). By default all types
that the processor computes in are measured; bfloat16 where it has no instructions for it is refused.

Tuned malloc is tcmalloc where libtcmalloc_minimal.so.4 is installed, else glibc's with thresholds that keep freed memory.
--write puts the table into docs/performance.md between the two comments compare_pytorch and every figure into docs/compare_pytorch.json.
Exit status 1 when a measurement failed.
"""
import argparse
import ctypes.util
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE, DATA = os.path.join(ROOT, "docs/performance.md"), os.path.join(ROOT, "docs/compare_pytorch.json")
BEGIN, END = "<!-- compare_pytorch: begin -->", "<!-- compare_pytorch: end -->"
ROWS = {"forward": "forward, 80 frames of 64x64", "image": "training step, 64 pictures of 32x32", "video": "training step, 80 frames of 64x64"}
PRECISION = {"float32": "fp32", "bfloat16": "bf16"}
THRESHOLDS = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"


def processor():
    """Name, instruction sets that matter, and whether it computes in bf16."""
    name, flags = platform.machine(), set()
    with open("/proc/cpuinfo") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    wanted = [f for f in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "bf16", "sve") if f in flags]
    return name, wanted, bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def malloc_settings(kinds):
    """Name of each setting -> environment of the process."""
    settings = {}
    for kind in kinds:
        if kind == "default":
            settings["default"] = {}
        elif kind == "tuned":
            library = ctypes.util.find_library("tcmalloc_minimal")
            settings["tuned"] = {"LD_PRELOAD": library} if library else {"GLIBC_TUNABLES": THRESHOLDS}
        else:
            sys.exit(f"--malloc: {kind} is neither default nor tuned")
    return settings


def run(command, environment):
    """The last line of what it prints as JSON, with its peak of memory; None when it failed."""
    clean = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GLIBC_TUNABLES")}
    with tempfile.TemporaryFile("w+") as out:
        p = subprocess.Popen(command, stdout=out, env={**clean, **environment})
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        lines = out.read().splitlines()
    if p.returncode or not lines:
        print(f"failed with {p.returncode}: {' '.join(command)}", file=sys.stderr)
        return None
    return {**json.loads(lines[-1]), "process_peak_MB": usage.ru_maxrss / 1024}


def measure(a, settings, row, threads, dtype):
    """Name of each program -> its results, a round each."""
    common = ["--rows", row, "--threads", str(threads), "--repeat", str(a.repeat)]
    torch = [a.python, os.path.join(ROOT, "bench/pytorch/bench.py"), *common, "--dtype", dtype]
    programs = {f"PyTorch, {name} malloc": (torch, environment) for name, environment in settings.items()}
    programs["lumiere"] = ([a.lumiere, "bench", *common, "--precision", PRECISION[dtype], "--json"], {})
    results = {name: [] for name in programs}
    for i in range(a.rounds):
        for name, (command, environment) in programs.items():
            print(f"{row}, {dtype}, {threads} thread(s), round {i + 1} of {a.rounds}: {name}", file=sys.stderr, flush=True)
            result = run(command, environment)
            if result:
                results[name].append(result)
    return results


def summary(results):
    return {"median": statistics.median(r["seconds_median"] for r in results), "min": min(r["seconds_min"] for r in results),
            "peak_MB": max(r["process_peak_MB"] for r in results)}


def table(measurements, settings):
    columns = [f"PyTorch, {s} malloc" for s in settings] + ["lumiere"]
    head = ["row", "type", "threads"] + [f"{c}, s" for c in columns] + [f"ratio to {s} malloc" for s in settings]
    head += ["peak MB: " + ", ".join([f"PyTorch {s}" for s in settings] + ["lumiere"])]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for m in measurements:
        sums = {name: summary(r) if r else None for name, r in m["results"].items()}
        own = sums["lumiere"]
        cells = [ROWS[m["row"]], PRECISION[m["dtype"]], str(m["threads"])]
        cells += [f"{s['median']:.3f} ({s['min']:.3f})" if s else "failed" for s in (sums[c] for c in columns)]
        for c in columns[:-1]:
            cells.append(f"{own['median'] / sums[c]['median']:.2f}" if own and sums[c] else "-")
        cells.append(", ".join(f"{sums[c]['peak_MB']:.0f}" if sums[c] else "-" for c in columns))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def first(measurements, program, key):
    """The value of key in the first result of the programs whose name begins so."""
    return next((r[key] for m in measurements for name, rs in m["results"].items() if name.startswith(program) for r in rs if key in r), "?")


def conditions(a, settings, measurements, load):
    name, flags, _ = processor()
    tuned = [f"{k}={v}" for s in settings.values() for k, v in s.items()]
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout.strip()
    return [
        f"Processor: {name} ({', '.join(flags)}), {len(os.sched_getaffinity(0))} processors for this process; "
        f"load average before the first run {load[0]:.2f}.",
        f"PyTorch {first(measurements, 'PyTorch', 'torch')} (oneDNN {first(measurements, 'PyTorch', 'onednn')}, "
        f"{first(measurements, 'PyTorch', 'cpu')}); bf16 is autocast." + (f" Tuned malloc: `{tuned[0]}`." if tuned else ""),
        f"lumiere {commit or 'of an unknown commit'}, default malloc: {first(measurements, 'lumiere', 'device')}.",
        f"{a.rounds} rounds by turns, {a.repeat} timed runs each; median in seconds (fastest in brackets); "
        f"{datetime.date.today().isoformat()}.",
    ]


def write(lines, data):
    text = "# Performance\n"
    if os.path.exists(PAGE):
        with open(PAGE) as f:
            text = f.read()
    if BEGIN not in text or END not in text:
        text = text.rstrip("\n") + f"\n\n## Against PyTorch\n\n{BEGIN}\n{END}\n"
    head, rest = text.split(BEGIN, 1)
    with open(PAGE, "w") as f:
        f.write(head + "\n".join([BEGIN, *lines, END]) + rest.split(END, 1)[1])
    with open(DATA, "w") as f:
        json.dump(data, f, indent=1)
        f.write("\n")


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--python", required=True)
    ap.add_argument("--lumiere", default=os.path.join(ROOT, "build/lumiere"))
    ap.add_argument("--rows", default=",".join(ROWS))
    ap.add_argument("--threads", default="1,2")
    ap.add_argument("--dtype")
    ap.add_argument("--malloc", default="default,tuned")
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--write", action="store_true")
    a = ap.parse_args()
    has_bf16 = processor()[2]
    a.dtype = (a.dtype or ("float32,bfloat16" if has_bf16 else "float32")).split(",")
    a.rows, a.threads = a.rows.split(","), [int(n) for n in a.threads.split(",")]
    for kind, given, known in (("row", a.rows, ROWS), ("type", a.dtype, PRECISION)):
        for g in given:
            if g not in known:
                ap.error(f"{g} is no {kind}; {', '.join(known)} are")
    if "bfloat16" in a.dtype and not has_bf16:
        ap.error("this processor has no bf16 arithmetic: PyTorch would not finish")
    if a.rounds < 1 or a.repeat < 1:
        ap.error("--rounds and --repeat begin at 1")
    return a


def main():
    a = options()
    settings, load = malloc_settings(a.malloc.split(",")), os.getloadavg()
    measurements = []
    for dtype in a.dtype:
        for threads in a.threads:
            for row in a.rows:
                results = measure(a, settings, row, threads, dtype)
                measurements.append({"row": row, "dtype": dtype, "threads": threads, "results": results})
                print("\n".join(table(measurements[-1:], settings)[2:]), file=sys.stderr, flush=True)
    notes = conditions(a, settings, measurements, load)
    lines = table(measurements, settings) + [""] + ["- " + n for n in notes]
    print("\n".join(lines))
    if a.write:
        write(lines, {"conditions": notes, "load_average": load, "malloc": settings, "measurements": measurements})
    failed = any(len(r) < a.rounds for m in measurements for r in m["results"].values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
