#!/usr/bin/env python3
"""Did it get slower or larger? Builds two revisions and runs `lumiere bench` of both by turns.

    bench/compare_versions.py [--before 923ed68] [--after HEAD] [--rows forward,image,video] [--threads 1,2]
                              [--dtype float32,bfloat16] [--rounds 3] [--repeat 3] [--jobs N] [--work FOLDER]

--before is by default the last revision before super-resolution and the tasks. Each revision is unpacked by git archive and built
without tests, as Release; what isn't committed takes no part. --work keeps both builds, to be used again; otherwise they lie in a
temporary folder. A measurement is a process of its own; the one that is first in one round is second in the next. Shown is the median
over rounds of the median of a round's --repeat runs and, in brackets, the fastest run of all; memory is the peak of the process
(VmHWM), the largest of all rounds. A ratio is after by before, so above 1 it got slower or larger. Two equal revisions show how far a
ratio may be from 1 by chance. Nothing else should be running. Exit status 1 when a measurement failed.
"""
import argparse
import contextlib
import datetime
import os
import subprocess
import sys
import tempfile

from compare_pytorch import PRECISION, ROOT, ROWS, processor, run, summary

BEFORE = "923ed68"
SIDES = ("before", "after")
NOT_BUILT = ("models", "data", "docs")
SIZES = {"lumiere": "the command", "liblumiere.so": "the shared library", "liblumiere.a": "the static library"}


def git(*arguments):
    p = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    if p.returncode:
        sys.exit(f"git {' '.join(arguments)}: {p.stderr.strip()}")
    return p.stdout.strip()


def build(a, folder, revision):
    """-> the folder of the built command."""
    source, target = os.path.join(folder, revision), os.path.join(folder, revision, "build")
    if not os.path.exists(os.path.join(target, "lumiere")):
        print(f"building {revision} in {target}", file=sys.stderr, flush=True)
        os.makedirs(source, exist_ok=True)
        command = ["git", "-C", ROOT, "archive", revision, "--", ".", *(f":(exclude){name}" for name in NOT_BUILT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as archive:
            subprocess.run(["tar", "-x", "-C", source], stdin=archive.stdout, check=True)
        if archive.returncode:
            sys.exit(f"git archive {revision} failed")
        for step in (["cmake", "-S", source, "-B", target, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLUMIERE_TESTS=OFF"],
                     ["cmake", "--build", target, "-j", str(a.jobs)]):
            subprocess.run(step, check=True, stdout=subprocess.DEVNULL)
    return target


def measure(a, builds, row, dtype, threads):
    """Side -> its results, a round each."""
    results = {side: [] for side in SIDES}
    for i in range(a.rounds):
        for side in SIDES if i % 2 == 0 else SIDES[::-1]:
            print(f"{row}, {dtype}, {threads} thread(s), round {i + 1} of {a.rounds}: {side}", file=sys.stderr, flush=True)
            result = run([os.path.join(builds[side], "lumiere"), "bench", "--rows", row, "--threads", str(threads), "--repeat", str(a.repeat),
                          "--precision", PRECISION[dtype], "--json"], {})
            if result:
                results[side].append(result)
    return results


def line(row, dtype, threads, results):
    cells = [ROWS[row], PRECISION[dtype], str(threads)]
    if not all(results.values()):
        return "| " + " | ".join(cells + ["failed"] + ["-"] * 5) + " |"
    before, after = (summary(results[side]) for side in SIDES)
    cells += [f"{s['median']:.3f} ({s['min']:.3f})" for s in (before, after)]
    cells += [f"{after['median'] / before['median']:.3f} ({after['min'] / before['min']:.3f})"]
    cells += [f"{before['peak_MB']:.0f}", f"{after['peak_MB']:.0f}", f"{after['peak_MB'] / before['peak_MB']:.3f}"]
    return "| " + " | ".join(cells) + " |"


def sizes(builds):
    lines = ["| file | before, bytes | after, bytes | ratio |", "|---|---|---|---|"]
    for name, what in SIZES.items():
        before, after = (os.path.getsize(os.path.join(builds[side], name)) for side in SIDES)
        lines.append(f"| {name}, {what} | {before} | {after} | {after / before:.3f} |")
    return lines


def conditions(a, revisions, device, load):
    name, flags, _ = processor()
    commits = "; ".join(side + ": " + git("log", "-1", "--format=%h, %cs, \"%s\"", revisions[side]) for side in SIDES)
    return [f"- {commits}.",
            f"- Processor: {name} ({', '.join(flags)}), {len(os.sched_getaffinity(0))} processors for this process; load average before the first run "
            f"{load[0]:.2f}. {device}.",
            f"- {a.rounds} rounds by turns, {a.repeat} timed runs each after one that does not count; median in seconds (fastest in brackets); "
            f"{datetime.date.today().isoformat()}."]


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--before", default=BEFORE)
    ap.add_argument("--after", default="HEAD")
    ap.add_argument("--rows", default=",".join(ROWS))
    ap.add_argument("--threads", default="1,2")
    ap.add_argument("--dtype", default="float32,bfloat16" if processor()[2] else "float32")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--work")
    a = ap.parse_args()
    a.rows, a.dtype, a.threads = a.rows.split(","), a.dtype.split(","), [int(n) for n in a.threads.split(",")]
    for kind, given, known in (("row of both revisions", a.rows, ROWS), ("type", a.dtype, PRECISION)):
        for g in given:
            if g not in known:
                ap.error(f"{g} is no {kind}; {', '.join(known)} are")
    if a.rounds < 1 or a.repeat < 1 or a.jobs < 1:
        ap.error("--rounds, --repeat and --jobs begin at 1")
    return a


def main():
    a = options()
    revisions = {side: git("rev-parse", "--verify", revision + "^{commit}") for side, revision in zip(SIDES, (a.before, a.after))}
    with contextlib.nullcontext(a.work) if a.work else tempfile.TemporaryDirectory() as folder:
        builds = {side: build(a, folder, revision) for side, revision in revisions.items()}
        load, lines, device, failed = os.getloadavg(), [], "", False
        for dtype in a.dtype:
            for threads in a.threads:
                for row in a.rows:
                    results = measure(a, builds, row, dtype, threads)
                    lines.append(line(row, dtype, threads, results))
                    print(lines[-1], file=sys.stderr, flush=True)
                    failed |= any(len(r) < a.rounds for r in results.values())
                    device = next((r["device"] for rs in results.values() for r in rs), device)
        print("| row | type | threads | before, s | after, s | ratio | peak MB before | after | ratio |\n" + "|---" * 9 + "|")
        print("\n".join(lines + [""] + sizes(builds) + [""] + conditions(a, revisions, device, load)))
    sys.exit(failed)


if __name__ == "__main__":
    main()
