#!/usr/bin/env python3
"""Builds a commit and HEAD, runs the command lines of tests/compare/cases.txt with both, by turns, and compares exit
codes, messages and the files that are left. What is meant to differ stands in tests/compare/expected.txt.

Exit codes: 0: no difference but those expected, and all of these; 1: others, or an expected one that did not occur;
2: wrong usage or list; 3: a commit that can't be built here."""
import argparse
import concurrent.futures
import fnmatch
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import builds
from cases import ListError, read_cases, uncovered
from differences import compare, read_expected, show
from outcomes import Side, ends_as_it_should, environment, run_case

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FILES = os.path.join(HERE, "files-0.1")


def parse_arguments(arguments):
    p = argparse.ArgumentParser(prog="tests/compare_revisions", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("commit", nargs="?", help="the commit to compare HEAD with, such as 1a6d2b0")
    p.add_argument("--with", dest="new", default="HEAD", metavar="COMMIT", help="another commit than HEAD")
    p.add_argument("--worktree", action="store_true", help="the working tree's tracked files instead of HEAD")
    p.add_argument("--only", metavar="PATTERN", help="cases whose name matches, such as '*--steps*'")
    p.add_argument("--quick", action="store_true", help="leave out slow cases, all seeds but the first, and bf16")
    p.add_argument("--list", action="store_true", help="print the cases' names and command lines and run nothing")
    p.add_argument("--check", metavar="LUMIERE", help="only check that every option of this command has cases")
    p.add_argument("--keep", metavar="FOLDER", help="keep what the cases leave, in FOLDER/old and FOLDER/new")
    p.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="cases that run at a time")
    return p.parse_args(arguments)


def help_of(command):
    def ask(words):
        done = subprocess.run([command, "help", *words], stdout=subprocess.PIPE, check=True, universal_newlines=True)
        return done.stdout
    return ask


def check_coverage(cases, command):
    missing = uncovered(cases, help_of(command))
    for text in missing:
        print("%s in tests/compare/cases.txt" % text)
    return bool(missing)


def choose(cases, options, bf16):
    """The cases to run."""
    out = [case for case in cases if not options.only or fnmatch.fnmatchcase(case.name, "*%s*" % options.only)]
    if options.quick:
        out = [c for c in out if not c.slow and c.values.get("seed", "1") == "1" and c.values.get("precision") != "bf16"]
    return [case for case in out if bf16 or case.values.get("precision") != "bf16"]


def has_bf16(command, folder):
    """Whether the processor computes in bf16, as the command sees it."""
    done = subprocess.run([command, "doctor", "--model", "none"], cwd=folder, env=environment(folder), check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    for precision in ("bf16", "fp32"):
        if "precision: " + precision in done.stdout:
            return precision == "bf16"
    raise builds.BuildError("lumiere doctor doesn't say whether this processor computes in bf16")


def build_both(options):
    """Commits, commands, and the folder with models and data of the older one."""
    cache = os.path.join(ROOT, "build-compare")
    old = builds.find_commit(ROOT, options.commit)
    new = builds.working_tree(ROOT) if options.worktree else builds.find_commit(ROOT, options.new)
    if not options.worktree and options.new == "HEAD" and builds.git(ROOT, "status", "--porcelain", "-uno"):
        print("note: changes that are not committed are left out; --worktree takes them in", file=sys.stderr)
    commands = []
    for commit in (old, new):
        print("building %s" % commit[:12], file=sys.stderr, flush=True)
        commands.append(builds.build_once(ROOT, cache, commit))
    return (old, new), commands, builds.export_inputs(ROOT, cache, old)


class Report:
    def __init__(self):
        self.equal, self.expected, self.unexpected, self.wrong = 0, [], [], []

    def add(self, case, new_outcome, differences):
        unknown = [d for d in differences if not d.expected]
        if unknown:
            self.unexpected.append((case, unknown))
            print_case(case, unknown)
        elif differences:
            self.expected.append((case, differences))
        else:
            self.equal += 1
        if not ends_as_it_should(case, new_outcome):
            self.wrong.append(case)
            print_wrong(case, new_outcome)


def print_case(case, differences):
    print("DIFFERS  %s" % case.name)
    for d in differences:
        line = " of: lumiere %s" % " ".join(case.lines[d.number - 1][1]) if d.number else ""
        print("  %s%s" % (d.place, line))
        for text in show(d):
            print("    " + text)
    sys.stdout.flush()


def print_wrong(case, outcome):
    last = outcome.lines[-1]
    print("WRONG    %s is listed as a case that %s and ended with %s: %s" %
          (case.name, "fails" if case.fails else "works", last["exit"], last["stderr"].strip()), flush=True)


def run_both(case, sides, keep):
    return [run_case(side, sides[0].command, case, keep) for side in sides]


def run_all(cases, sides, expected, options):
    report, started = Report(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, options.jobs)) as pool:
        for number, (case, (old, new)) in enumerate(
                zip(cases, pool.map(lambda c: run_both(c, sides, options.keep), cases)), 1):
            report.add(case, new, compare(case.name, old, new, expected))
            if number % 50 == 0 or number == len(cases):
                print("%d of %d cases, %.0f s" % (number, len(cases), time.monotonic() - started), file=sys.stderr)
    return report


def stale(expected, all_cases, run_cases):
    """Entries that no difference needed although every case that they may concern was run."""
    run, out = {case.name for case in run_cases}, []
    for entry in expected:
        names = [case.name for case in all_cases if fnmatch.fnmatchcase(case.name, entry.pattern)]
        if not names or (not entry.uses and all(name in run for name in names)):
            out.append(entry)
    return out


def print_summary(report, old_entries, expected):
    print("%d cases equal, %d with expected differences only, %d with unexpected ones" %
          (report.equal, len(report.expected), len(report.unexpected)))
    for entry in expected:
        if entry.uses:
            print("  expected in %d: %s, %s: %s" % (entry.uses, entry.pattern, entry.place, entry.reason))
    for entry in old_entries:
        print("  STALE %s: no %s of \"%s\" differs so: %s" % (entry.where, entry.place, entry.pattern, entry.reason))
    for case, _ in report.unexpected:
        print("  UNEXPECTED %s" % case.name)
    for case in report.wrong:
        print("  WRONG CASE %s" % case.name)


def compare_commits(options, cases, expected):
    commits, commands, inputs = build_both(options)
    failed = check_coverage(cases, commands[1])
    work = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="lumiere-compare-")
    try:
        links = {"files": FILES, "media": ROOT + "/tests/data/media", "data": inputs + "/data", "emoji": inputs + "/models/emoji"}
        sides = [Side(command, os.path.join(work, name), links) for command, name in zip(commands, ("old", "new"))]
        os.makedirs(work, exist_ok=True)
        bf16 = has_bf16(commands[0], work)
        chosen = choose(cases.cases, options, bf16)
        print("old: %s, new: %s; %d of %d cases%s" % (commits[0][:12], commits[1][:12], len(chosen), len(cases.cases),
              "" if bf16 else "; this processor has no bf16"), flush=True)
        report = run_all(chosen, sides, expected, options)
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    old_entries = stale(expected, cases.cases, chosen)
    print_summary(report, old_entries, expected)
    return bool(failed or report.unexpected or report.wrong or old_entries)


def main(arguments):
    options = parse_arguments(arguments)
    try:
        cases, expected = read_cases(HERE + "/cases.txt"), read_expected(HERE + "/expected.txt")
        if options.list:
            for case in choose(cases.cases, options, True):
                print(case.name)
                for kind, words in case.lines:
                    print("    " + " ".join([{"old": "old lumiere"}.get(kind, kind)] + [shlex.quote(w) for w in words]))
            return 0
        if options.check:
            return check_coverage(cases, options.check)
        if not options.commit:
            print("tests/compare_revisions: name the commit to compare with, such as 1a6d2b0", file=sys.stderr)
            return 2
        return compare_commits(options, cases, expected)
    except (ListError, builds.BuildError, OSError, subprocess.CalledProcessError) as error:
        print("tests/compare_revisions: %s" % error, file=sys.stderr)
        return 2 if isinstance(error, ListError) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
