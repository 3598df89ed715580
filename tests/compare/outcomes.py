"""Runs a case and keeps what came of it."""
import hashlib
import os
import shutil
import subprocess

from normalise import normal_file, normal_text

SECONDS = 300  # that a command line may take
LARGE = 16 << 20  # bytes; of larger files a digest is kept


class Side:
    """One of the two revisions: its command, and the folder that its cases run in."""

    def __init__(self, command, work, links):
        self.command, self.work, self.links = command, work, links

    def folder(self, case):
        return os.path.join(self.work, case.name.replace("/", "_"))


class Outcome:
    """lines: [{exit, stdout, stderr}], files: name -> bytes; all without what varies from run to run."""

    def __init__(self, lines, files):
        self.lines, self.files = lines, files

    def places(self):
        """(place, number of the command line or None, value) of all that is compared."""
        for number, line in enumerate(self.lines, 1):
            for place in ("exit", "stdout", "stderr"):
                yield place, number, line[place]
        for name, data in self.files.items():
            yield "file " + name, None, data


def environment(folder):
    kept = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    kept["DNNL_MAX_CPU_ISA"] = "AVX512_CORE_BF16"  # revisions may choose differently among oneDNN's kernels for AMX
    return dict(kept, LC_ALL="C", TERM="dumb", HOME=folder, LUMIERE_MODEL="emoji")


def run_line(command, words, folder):
    try:
        done = subprocess.run([command, *words], cwd=folder, env=environment(folder), timeout=SECONDS,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    except subprocess.TimeoutExpired:
        return {"exit": "none within %d s" % SECONDS, "stdout": "", "stderr": ""}
    texts = [normal_text(words[0] if words else "", text.decode("utf-8", "backslashreplace"))
             for text in (done.stdout, done.stderr)]
    return {"exit": str(done.returncode), "stdout": texts[0], "stderr": texts[1]}


def make_folder(side, case):
    folder = side.folder(case)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name, target in side.links.items():
        os.symlink(target, os.path.join(folder, name))
    return folder


def read_files(folder, links):
    files = {}
    for base, folders, names in os.walk(folder):
        for name in sorted(names + [f for f in folders if os.path.islink(os.path.join(base, f))]):
            path = os.path.relpath(os.path.join(base, name), folder)
            if path not in links:
                with open(os.path.join(folder, path), "rb") as file:
                    files[path] = digest_large(normal_file(path, file.read()))
    return files


def digest_large(data):
    if len(data) <= LARGE:
        return data
    return b"%d bytes, sha256 %s" % (len(data), hashlib.sha256(data).hexdigest().encode())


def run_case(side, old_command, case, keep=False):
    """Runs the case's lines until one fails; folders are removed behind it unless they are to be kept."""
    folder, lines = make_folder(side, case), []
    for kind, words in case.lines:
        if kind == "copy":
            shutil.copytree(os.path.join(folder, words[0]), os.path.join(folder, words[1]))
            lines.append({"exit": "0", "stdout": "", "stderr": ""})
        else:
            lines.append(run_line(old_command if kind == "old" else side.command, words, folder))
        if lines[-1]["exit"] != "0":
            break
    outcome = Outcome(lines, read_files(folder, side.links))
    if not keep:
        shutil.rmtree(folder)
    return outcome


def ends_as_it_should(case, outcome):
    """Whether the case is what it claims: all lines are run, and end with 0, but for the last of one that fails."""
    codes = [line["exit"] for line in outcome.lines]
    if len(codes) != len(case.lines) or any(code != "0" for code in codes[:-1]):
        return False
    return (codes[-1] != "0") == case.fails and codes[-1].isdigit()
