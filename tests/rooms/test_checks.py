#!/usr/bin/env python3
"""script/check-rooms and script/check-symbols see what they are there to see: a small library of two rooms, right and wrong.

    test_checks.py C_COMPILER
"""
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "script")
COMPILER = "cc"
TABLE = """
| room | rooms it may include | libraries |
|---|---|---|
| `low` | | intrinsics in `clock.c` |
| `high` | `low` | |
| `fast` | `low` | intrinsics |
"""
RIGHT = {
    "low/a.c": "int lm_a(void) { return 1; }\n",
    "high/b.c": "int lm_a(void); int lumiere_b(void); int lumiere_b(void) { return lm_a(); }\n",
    "high/c.c": "int lumiere_b(void); static int helper(void) { return 2; } int lm_c(void); int lm_c(void) { return lumiere_b() + helper(); }\n",
}


class Checks(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.write("table.md", TABLE)

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def run_script(self, name, *args):
        ran = subprocess.run([sys.executable, os.path.join(SCRIPTS, name), "table.md", *args], cwd=self.folder.name, capture_output=True, text=True)
        self.assertEqual(ran.stderr, "")
        return ran.returncode, ran.stdout

    def symbols(self, changed=None, known=""):
        sources = {**RIGHT, **(changed or {})}
        self.write("known.txt", known)
        objects = []
        for name, text in sources.items():
            self.write("src/" + name, text)
            objects.append(os.path.basename(name) + ".o")
            subprocess.run([COMPILER, "-O0", "-c", "src/" + name, "-o", objects[-1]], cwd=self.folder.name, check=True)
        subprocess.run(["ar", "rcs", "library.a", *objects], cwd=self.folder.name, check=True)
        return self.run_script("check-symbols", "known.txt", "library.a")

    def rooms(self, name, text):
        self.write("src/" + name, text)
        return self.run_script("check-rooms", "src/" + name)

    def test_right(self):
        self.assertEqual(self.symbols(), (0, "symbols: 3 objects keep to docs/architecture.md\n"))

    def test_prefix(self):
        changed = {"low/a.c": "int helper = 3; int lm_a(void) { return helper; }\n"}
        status, said = self.symbols(changed)
        self.assertEqual(status, 1)
        self.assertEqual(said, "low/a.c: the global symbol helper begins with neither lm_ nor lumiere_\n")
        self.assertEqual(self.symbols(changed, "global helper # until it has a name\n")[0], 0)

    def test_upward_use(self):
        changed = {"low/d.c": "int lm_c(void); int lm_d(void); int lm_d(void) { return lm_c(); }\n"}
        status, said = self.symbols(changed)
        self.assertEqual((status, said), (1, "low/d.c: low may not use lm_c of high/c.c\n"))
        self.assertEqual(self.symbols(changed, "use low lm_c\n")[0], 0)

    def test_circle(self):
        changed = {"high/b.c": "int lm_c(void); int lumiere_b(void); int lumiere_b(void) { return lm_c(); }\n"}
        status, said = self.symbols(changed)
        self.assertEqual(status, 1)
        self.assertTrue(said.startswith("files that use each other in a circle: high/b.c, high/c.c\n"))
        self.assertEqual(self.symbols(changed, "circle c.c b.c a.c\n")[0], 0)
        self.assertEqual(self.symbols(changed, "circle c.c d.c\n")[0], 1)

    def test_a_known_fault_that_is_gone_is_named(self):
        status, said = self.symbols(known="global gone\ncircle a.c b.c\n")
        self.assertEqual(status, 0)
        self.assertIn("may lose the line: global gone\n", said)
        self.assertIn("may lose the line: circle a.c b.c\n", said)

    def test_intrinsics(self):
        for text in ("#include <immintrin.h>\n", "#include <arm_neon.h>\n", '__asm__ volatile("nop");\n', "x = _mm256_add_ps(x, y);\n",
                     "__builtin_ia32_pause();\n", 'if (__builtin_cpu_supports("avx2")) f();\n', '__attribute__((target("avx2"))) void f(void);\n',
                     '#pragma GCC target("avx2")\n'):
            self.assertEqual(self.rooms("low/x.c", text)[0], 1, text)
            self.assertEqual(self.rooms("low/clock.c", text)[0], 0, text)
            self.assertEqual(self.rooms("fast/x.c", text)[0], 0, text)
        for text in ("// _mm256_add_ps, __asm__\n", "/* #include <immintrin.h>\n */ int target(int);\n", "int x = target(y), memory = 0;\n"):
            self.assertEqual(self.rooms("low/x.c", text)[0], 0, text)

    def test_includes(self):
        self.assertEqual(self.rooms("low/x.c", '#include "high/b.h"\n')[0], 1)
        self.assertEqual(self.rooms("high/x.c", '#include "low/a.h"\n')[0], 0)
        self.assertEqual(self.rooms("high/x.c", "#include <jansson.h>\n")[0], 1)


if __name__ == "__main__":
    COMPILER = sys.argv.pop(1) if len(sys.argv) > 1 else COMPILER
    unittest.main()
