"""Builds of a commit, kept by what they are made of."""
import glob
import hashlib
import os
import re
import shutil
import subprocess

# What a build of the command doesn't read.
NOT_BUILT = ("tests", "docs", "bench", "data", "models", "examples", "configs", "script")
VERSION = "0.0.0"  # of both, so that a new number of the version is no difference


class BuildError(Exception):
    """One line: what could not be built, and why."""


def git(root, *arguments):
    return subprocess.run(["git", "-C", root, *arguments], check=True, stdout=subprocess.PIPE).stdout


def find_commit(root, name):
    done = subprocess.run(["git", "-C", root, "rev-parse", "--verify", "--quiet", name + "^{commit}"],
                          stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise BuildError("there is no commit \"%s\" here" % name)
    return done.stdout.decode().strip()


def working_tree(root):
    """A commit of the working tree's tracked files, which no branch holds."""
    return git(root, "stash", "create").decode().strip() or find_commit(root, "HEAD")


def entries(root, commit, wanted):
    """Names at the top of a commit for which wanted(name), and a key of what they hold."""
    lines = [line for line in git(root, "ls-tree", commit).decode().splitlines() if wanted(line.split("\t")[1])]
    return [line.split("\t")[1] for line in lines], hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def export(root, commit, names, folder):
    os.makedirs(folder)
    archive = subprocess.Popen(["git", "-C", root, "archive", commit, *names], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
    archive.stdout.close()
    if archive.wait():
        raise BuildError("git archive of %s failed" % commit)


def export_once(root, cache, commit, kind, wanted):
    """The folder cache/KIND-KEY with that part of the commit."""
    names, key = entries(root, commit, wanted)
    folder = os.path.join(cache, "%s-%s" % (kind, key))
    if not os.path.isdir(folder):
        shutil.rmtree(folder + ".part", ignore_errors=True)
        export(root, commit, names, folder + ".part")
        os.rename(folder + ".part", folder)
    return folder


def export_inputs(root, cache, commit):
    """A folder with the commit's models and data."""
    return export_once(root, cache, commit, "inputs", lambda name: name in ("models", "data"))


def set_version(source):
    path = os.path.join(source, "CMakeLists.txt")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text, found = re.subn(r"(project\(lumiere VERSION )[0-9.]+", r"\g<1>" + VERSION, text)
    if not found:
        raise BuildError("CMakeLists.txt names no project(lumiere VERSION ...)")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def opencl_stand_in():
    """CMake options for commits that ask for OpenCL's development files through oneDNN's package, and call none of
    its functions: any library does in its place. [] where there is none."""
    libraries = [path for name in ("libOpenCL.so*", "libdnnl.so*") for path in
                 sorted(glob.glob("/usr/lib/*/" + name) + glob.glob("/usr/lib/" + name))]
    return ["-DOpenCL_LIBRARY=" + libraries[0], "-DOpenCL_INCLUDE_DIR=/usr/include"] if libraries else []


def configure(source, build, more):
    shutil.rmtree(build, ignore_errors=True)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    return subprocess.run(["cmake", "-S", source, "-B", build, *generator, "-DCMAKE_BUILD_TYPE=Release",
                           "-DLUMIERE_TESTS=OFF", *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, check=False)


def first_error(text):
    """The first error in what CMake or a compiler printed."""
    found = re.search(r"^CMake Error[^\n]*\n+((?:  [^\n]+\n)+)", text, re.M)
    if found:
        return " ".join(found.group(1).split())
    lines = [line for line in text.splitlines() if "error" in line.lower()] or text.splitlines() or ["no reason given"]
    return lines[0].strip()


def build_once(root, cache, commit):
    """The command built of a commit."""
    source = export_once(root, cache, commit, "source", lambda name: name not in NOT_BUILT and not name.startswith("."))
    build, command = source + "-build", source + "-build/lumiere"
    if os.path.exists(build + "/complete"):
        return command
    set_version(source)
    done = configure(source, build, [])
    if done.returncode:
        done = configure(source, build, opencl_stand_in())
    if done.returncode == 0:
        done = subprocess.run(["cmake", "--build", build, "--target", "lumiere", "--parallel", str(os.cpu_count())],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    if done.returncode:
        raise BuildError("%s can't be built here: %s" % (commit[:12], first_error(done.stdout)))
    open(build + "/complete", "w").close()
    return command
