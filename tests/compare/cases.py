"""Reads cases.txt: its head says what stands in it."""
import itertools
import re
import shlex

SEEDS, PRECISIONS = ("1", "2", "3"), ("fp32", "bf16")


class ListError(Exception):
    """A line of a list that can't be read; the text names file and line."""


class Case:
    """Command lines that run one after the other in a folder of their own.

    lines: [(kind, words)], kind: lumiere, old (the older command, whichever is compared) or copy (FROM TO).
    fails: the last line is to end with another exit code than 0.
    """

    def __init__(self, name, lines, fails=False, slow=False, values=None):
        self.name, self.lines, self.fails, self.slow = name, lines, fails, slow
        self.values = values or {}  # of {seed} and {precision}, where they stand in the lines

    def variants(self):
        """This case with each seed and precision that its lines leave open."""
        text = " ".join(word for _, words in self.lines for word in words)
        open_values = [(key, values) for key, values in (("seed", SEEDS), ("precision", PRECISIONS))
                       if "{%s}" % key in text]
        for chosen in itertools.product(*(values for _, values in open_values)):
            yield self.variant(dict(zip((key for key, _ in open_values), chosen)))

    def variant(self, values):
        def fill(word):
            for key, value in values.items():
                word = word.replace("{%s}" % key, value)
            return word
        name = " ".join([self.name] + ["%s=%s" % item for item in values.items()])
        lines = [(kind, [fill(word) for word in words]) for kind, words in self.lines]
        return Case(name, lines, self.fails, self.slow, values)


class CaseList:
    """cases: [Case], every variant. valid, invalid: command -> set of option names that have such a case."""

    def __init__(self):
        self.cases, self.valid, self.invalid = [], {}, {}
        self.starts = {}  # command -> words of the line that its options are added to
        self.macros = {}


class Reader:
    def __init__(self, path):
        self.path, self.number, self.list = path, 0, CaseList()
        self.commands, self.slow, self.open_case = [], False, None  # of the section that a line stands in

    def fail(self, text):
        raise ListError("%s:%d: %s" % (self.path, self.number, text))

    def words(self, text):
        """Words as a shell splits them; $NAME is what `let NAME` says."""
        text = re.sub(r"\$(\w+)", lambda m: self.macro(m.group(1)), text)
        try:
            return shlex.split(text)
        except ValueError as error:
            return self.fail(str(error))

    def macro(self, name):
        if name not in self.list.macros:
            self.fail("$%s is not said before" % name)
        return self.list.macros[name]

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            for self.number, line in enumerate(file, 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    (self.inner if line[0] == " " else self.outer)(line.strip())
        self.close_case()
        return self.list

    def outer(self, line):
        self.close_case()
        self.commands = []
        kind, _, rest = line.partition(" ")
        if kind not in ("let", "start", "options", "case"):
            self.fail("a line begins with let, start, options or case, not with \"%s\"" % kind)
        getattr(self, "outer_" + kind)(rest.strip())

    def outer_let(self, rest):
        name, _, text = rest.partition(" ")
        self.list.macros[name] = re.sub(r"\$(\w+)", lambda m: self.macro(m.group(1)), text.strip())

    def outer_start(self, rest):
        words = self.words(rest)
        self.list.starts[words[0]] = words

    def outer_options(self, rest):
        names, marks = self.marks(rest, ("slow",))
        self.commands, self.slow = names.split(), bool(marks)
        for command in self.commands:
            if command not in self.list.starts:
                self.fail("no start line for the command %s" % command)

    def outer_case(self, rest):
        name, marks = self.marks(rest, ("fails", "slow"))
        self.open_case = Case(name, [], "fails" in marks, "slow" in marks)
        covers = re.match(r"(\S+) --(\S+) (valid|invalid)$", name)
        if covers:
            self.cover(covers.group(1), covers.group(2), covers.group(3) == "valid")

    def marks(self, text, known):
        """NAME | MARK | MARK: the name, and the marks, which are known ones."""
        name, *marks = [part.strip() for part in text.split("|")]
        for mark in marks:
            if mark not in known:
                self.fail("a mark here is one of %s, not \"%s\"" % (", ".join(known), mark))
        return name, marks

    def cover(self, command, option, valid):
        (self.list.valid if valid else self.list.invalid).setdefault(command, set()).add(option)

    def close_case(self):
        if self.open_case:
            if not self.open_case.lines:
                self.fail("the case \"%s\" has no command line" % self.open_case.name)
            self.list.cases += self.open_case.variants()
        self.open_case = None

    def inner(self, line):
        if self.open_case:
            self.add_line(line)
        elif self.commands:
            self.add_option(line)
        else:
            self.fail("an indented line belongs to a case or to options")

    def add_line(self, line):
        words = self.words(line)
        if words[0] == "copy" and len(words) == 3:
            self.open_case.lines.append(("copy", words[1:]))
        elif words[0] == "lumiere":
            self.open_case.lines.append(("lumiere", words[1:]))
        elif words[:2] == ["old", "lumiere"]:
            self.open_case.lines.append(("old", words[2:]))
        else:
            self.fail("a line of a case begins with lumiere or old lumiere, or is copy FROM TO")

    def add_option(self, line):
        """NAME: VALID | INVALID, for every command of the section."""
        name, colon, sides = line.partition(":")
        sides = sides.split(" | ")
        if not colon or len(sides) != 2:
            self.fail("an option's line is NAME: VALID | INVALID")
        for command in self.commands:
            self.add_option_case(command, name, sides[0], True)
            self.add_option_case(command, name, sides[1], False)

    def add_option_case(self, command, name, text, valid):
        words = self.words(text)
        line = words[1:] if words[:1] == ["="] else self.list.starts[command] + words
        if not any(re.split("=", word)[0] == "--" + name for word in words):
            self.fail("--%s is not among its own %s words" % (name, "valid" if valid else "invalid"))
        if line[0] != command:
            self.fail("a case of %s begins with %s" % (command, line[0]))
        case = Case("%s --%s %s" % (command, name, "valid" if valid else "invalid"), [("lumiere", line)],
                    fails=not valid, slow=self.slow and valid)
        # what is refused is refused whatever the precision
        self.list.cases += case.variants() if valid else [next(case.variants())]
        self.cover(command, name, valid)


def read_cases(path):
    cases = Reader(path).read()
    names = [case.name for case in cases.cases]
    for name in names:
        if names.count(name) > 1:
            raise ListError("%s: two cases are called \"%s\"" % (path, name))
    return cases


def uncovered(cases, help_of):
    """What the command offers and the list leaves out: a text for each command. help_of(words): what help prints."""
    missing = []
    for command in re.findall(r"^  ([a-z]+) ", help_of([]), re.M):
        if command == "help":
            continue
        options = re.findall(r"^  (?:-\w,|   ) --([a-z0-9-]+)", help_of([command]), re.M)
        for kind, have in (("valid", cases.valid), ("invalid", cases.invalid)):
            lacks = ["--" + option for option in options if option not in have.get(command, ())]
            if lacks:
                missing.append("%s: no %s case of %s" % (command, kind, ", ".join(lacks)))
        if not options:
            missing.append("%s: its help names no option" % command)
    return missing
