"""The command line of the evaluate_*.py programs: options that all have, and rows that each prints."""
import argparse
import json
import os
import sys


def evaluation_parser(doc, rows, work):
    """rows: the names of all, which are the default. work: the folder for files."""
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lumiere", default="build/lumiere")
    ap.add_argument("--model", default="models/emoji")
    ap.add_argument("--work", default=work)
    ap.add_argument("--rows", default=",".join(rows))
    return ap


def parse(ap, rows):
    """-> the arguments, a.rows a list of known names; the work folder is there."""
    a = ap.parse_args()
    a.rows = a.rows.split(",")
    unknown = [r for r in a.rows if r not in rows]
    if unknown:
        ap.error(f"--rows: {unknown[0]} is none of {', '.join(rows)}")
    os.makedirs(a.work, exist_ok=True)
    return a


def evaluate(a, rows, *inputs):
    """rows: name -> function of (a, *inputs) -> (what goes into result.json, whether it is as asked). Ends the program."""
    result, passed = {}, {}
    for r in a.rows:
        result[r], passed[r] = rows[r](a, *inputs)
    with open(os.path.join(a.work, "result.json"), "w") as f:
        json.dump(result, f, indent=1)
    sys.exit(not all(passed.values()))
