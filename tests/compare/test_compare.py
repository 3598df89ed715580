"""What tests/compare_revisions is made of, without a build: its lists, what it leaves out, what it finds."""
import os
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare_revisions  # noqa: E402
from cases import Case, ListError, read_cases, uncovered  # noqa: E402
from differences import compare, read_expected, show  # noqa: E402
from normalise import normal_file, normal_text  # noqa: E402
from outcomes import Outcome, Side, ends_as_it_should, run_case  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def with_text(text, read):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "list.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return read(path)


def outcome(stderr="", code="0", files=None):
    return Outcome([{"exit": code, "stdout": "", "stderr": stderr}], files or {})


class Lists(unittest.TestCase):
    def test_the_committed_lists_can_be_read(self):
        self.assertGreater(len(read_cases(HERE + "/cases.txt").cases), 1000)
        for entry in read_expected(HERE + "/expected.txt"):
            self.assertTrue(entry.reason)

    def test_options_make_valid_and_invalid_cases(self):
        cases = with_text("let made -o x --precision {precision}\nstart a in $made\noptions a\n    steps: --steps 3 | --steps 0\n",
                          read_cases)
        self.assertEqual([c.name for c in cases.cases], ["a --steps valid precision=fp32", "a --steps valid precision=bf16",
                                                         "a --steps invalid precision=fp32"])
        self.assertEqual(cases.cases[1].lines, [("lumiere", ["a", "in", "-o", "x", "--precision", "bf16", "--steps", "3"])])
        self.assertEqual([c.fails for c in cases.cases], [False, False, True])

    def test_seeds_multiply_a_case(self):
        cases = with_text("case c | slow\n    lumiere a -s {seed}\n    old lumiere b 'c d'\n    copy e f\n", read_cases).cases
        self.assertEqual([c.name for c in cases], ["c seed=1", "c seed=2", "c seed=3"])
        self.assertEqual(cases[2].lines, [("lumiere", ["a", "-s", "3"]), ("old", ["b", "c d"]), ("copy", ["e", "f"])])
        self.assertTrue(cases[0].slow)

    def test_defects_are_said_with_their_line(self):
        for text, what in (("paint\n", ":1: "), ("case a\n    lumiere $none\n", ":2: \\$none"), ("case a\n", "no command line"),
                           ("case a\n    ls\n", ":2: "), ("options a\n", "no start line"), ("case a | fast\n", "a mark"),
                           ("start a\noptions a\n    b: --c 1 | --b\n", "--b is not among"),
                           ("case a\n    lumiere\ncase a\n    lumiere\n", "two cases")):
            with self.assertRaisesRegex(ListError, what):
                with_text(text, read_cases)

    def test_defects_of_the_expected_list(self):
        for text in ("case a\n", "case a\n    stderr\n", "stderr\n", "case a\n    colour\n    why b\n",
                     "case a\n    exit 1 2\n    why b\n"):
            with self.assertRaises(ListError):
                with_text(text, read_expected)

    def test_an_option_without_cases_is_named(self):
        cases = with_text("start a\noptions a\n    b: --b | --b=1\n", read_cases)
        helps = {"": "  a   Does.\n  help  Says.\n", "a": "  -b, --b N   x\n      --new-one   y\n"}
        self.assertEqual(uncovered(cases, lambda words: helps[" ".join(words)]),
                         ["a: no valid case of --new-one", "a: no invalid case of --new-one"])


class Normal(unittest.TestCase):
    def test_times_are_left_out_and_nothing_else(self):
        line = "tiny: 4 frames of 16x16, 2 steps, seed 5; about 0.3 s and 84 MB (fp32)\nwrote a in b in 1 min 02 s\n"
        self.assertEqual(normal_text("generate", line),
                         "tiny: 4 frames of 16x16, 2 steps, seed 5; about T and 84 MB (fp32)\nwrote a in b in T\n")
        self.assertEqual(normal_text("inspect", line), line)

    def test_rows_of_bench_are_sorted(self):
        a = "x\n  conv 8 nodes  1.00 ms 9.0 GFLOP/s  1.0 %  k\n  add 2 nodes  0.10 ms  9.9 GFLOP/s 12.0 %  k\ny"
        b = "x\n  add 2 nodes  5.10 ms  1.9 GFLOP/s 2.0 %  k\n  conv 8 nodes  1.50 ms 29.0 GFLOP/s  1.0 %  k\ny"
        self.assertEqual(normal_text("bench", a), normal_text("bench", b))

    def test_figures_of_bench(self):
        text = "259.1 GFLOP, 271.6 GFLOP/s, 306.5 % of the peak\n     1   0.100 ms      0.4 GFLOP/s  norm  cpu\n"
        self.assertEqual(normal_text("bench", text),
                         "259.1 GFLOP, G GFLOP/s, P % of the peak\n     1 T ms G GFLOP/s  norm  cpu\n")

    def test_seconds_of_a_checkpoint(self):
        def checkpoint(seconds, data):
            text = b'{"__metadata__":{"step":"3","seconds":"%s"},"a":{}}' % seconds
            return struct.pack("<Q", len(text)) + text + data
        name = "out/checkpoint.safetensors"
        self.assertEqual(normal_file(name, checkpoint(b"1", b"x")), normal_file(name, checkpoint(b"20", b"x")))
        self.assertNotEqual(normal_file(name, checkpoint(b"1", b"x")), normal_file(name, checkpoint(b"1", b"y")))

    def test_seconds_of_metrics(self):
        self.assertEqual(normal_file("metrics.csv", b"step,samples\n5,10,0.3,0.67\n"), b"step,samples\n5,10,T,0.67\n")


class Differences(unittest.TestCase):
    def expected(self, text):
        return with_text(text, read_expected)

    def test_every_place_is_compared(self):
        self.assertEqual(compare("c", outcome("a", "0", {"f": b"1"}), outcome("a", "0", {"f": b"1"}), []), [])
        found = compare("c", outcome("a", "0", {"f": b"1", "g": b""}), outcome("b", "2", {"f": b"2", "h": b""}), [])
        self.assertEqual([d.place for d in found], ["exit", "stderr", "file f", "file g", "file h"])

    def test_a_named_change_covers_itself_alone(self):
        entries = self.expected('case c*\n    stderr "old word" -> "new word"\n    why it reads better\n')
        self.assertEqual(entries[0].reason, "it reads better")
        self.assertTrue(compare("c1", outcome("an old word"), outcome("an new word"), entries)[0].expected)
        self.assertFalse(compare("c1", outcome("an old word"), outcome("a new word"), entries)[0].expected)
        self.assertFalse(compare("d", outcome("an old word"), outcome("an new word"), entries)[0].expected)
        self.assertEqual(entries[0].uses, 1)

    def test_a_pattern_leaves_out_what_it_finds(self):
        entries = self.expected('case *\n    stderr ~ "[0-9]+ MB"\n    why plans are smaller\n')
        self.assertTrue(compare("c", outcome("84 MB, a"), outcome("80 MB, a"), entries)[0].expected)
        self.assertFalse(compare("c", outcome("84 MB, a"), outcome("80 MB, b"), entries)[0].expected)

    def test_whatever_differs_in_a_file(self):
        entries = self.expected("case *\n    file out/*.mp4\n    why another codec\n")
        found = compare("c", outcome(files={"out/a.mp4": b"1", "b": b"1"}), outcome(files={"out/a.mp4": b"2", "b": b"2"}), entries)
        self.assertEqual([bool(d.expected) for d in found], [True, False])

    def test_what_does_not_occur_is_stale(self):
        entries = self.expected("case a\n    stderr\n    why x\ncase b\n    all\n    why y\ncase none\n    exit\n    why z\n")
        a, b = Case("a", []), Case("b", [])
        compare("a", outcome("1"), outcome("2"), entries)
        self.assertEqual([e.pattern for e in compare_revisions.stale(entries, [a, b], [a, b])], ["b", "none"])
        self.assertEqual([e.pattern for e in compare_revisions.stale(entries, [a, b], [a])], ["none"])

    def test_both_sides_are_shown(self):
        d = compare("c", outcome("x\nold\n"), outcome("x\nnew\n"), [])[0]
        self.assertEqual(show(d), ["-old", "+new"])
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 2) + b"{}"
        d = compare("c", outcome(files={"a.npy": header + b"abc"}), outcome(files={"a.npy": header + b"abh"}), [])[0]
        self.assertEqual(show(d), ["1 of 3 numbers differ, by at most 5 of 255"])


class Runs(unittest.TestCase):
    """With a command that is a shell script."""

    def run_lines(self, script, lines, fails=False):
        with tempfile.TemporaryDirectory() as folder:
            commands = []
            for name, text in (("new", script), ("old", "echo old")):
                commands.append(os.path.join(folder, name))
                with open(commands[-1], "w", encoding="utf-8") as file:
                    file.write("#!/bin/sh\n%s\n" % text)
                os.chmod(commands[-1], 0o755)
            case = Case("c", lines, fails)
            side = Side(commands[0], folder + "/work", {"files": HERE})
            result = run_case(side, commands[1], case)
            return result, ends_as_it_should(case, result)

    def test_codes_texts_and_files_are_kept(self):
        result, well = self.run_lines("echo $1 >&2; mkdir d; echo $1 > d/f; ls; exit 3", [("lumiere", ["x"])], fails=True)
        self.assertEqual(result.lines, [{"exit": "3", "stdout": "d\nfiles\n", "stderr": "x\n"}])
        self.assertEqual(result.files, {"d/f": b"x\n"})
        self.assertTrue(well)

    def test_lines_of_the_older_command_and_copies(self):
        result, well = self.run_lines("echo new; mkdir -p a; echo > a/f", [("lumiere", []), ("old", []), ("copy", ["a", "b"])])
        self.assertEqual([line["stdout"] for line in result.lines], ["new\n", "old\n", ""])
        self.assertEqual(sorted(result.files), ["a/f", "b/f"])
        self.assertTrue(well)

    def test_a_case_that_is_not_what_it_claims(self):
        self.assertFalse(self.run_lines("exit 2", [("lumiere", ["x"])])[1])
        self.assertFalse(self.run_lines("exit 0", [("lumiere", ["x"])], fails=True)[1])
        self.assertFalse(self.run_lines("exit 2", [("lumiere", ["x"]), ("lumiere", ["y"])], fails=True)[1])
        self.assertFalse(self.run_lines("kill -SEGV $$", [("lumiere", ["x"])], fails=True)[1])


if __name__ == "__main__":
    unittest.main()
