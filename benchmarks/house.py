"""Sizes and arrows of the house: `python -m benchmarks.house`.

A code line holds a token that is neither comment nor docstring. The table has one row per folder; below it stand the
goals with what is reached, and every import that points the wrong way. tests/test_house.py holds the arrows.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
HOUSES = ("tiramisu_edu", "teaching", "studies", "benchmarks")
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)

# Room -> the rooms above it, which it does not import. Rooms are folders and files of the library, and the houses.
ABOVE = {
    "library": {"lab", "course", "teaching", "studies", "benchmarks"},
    "lab": {"course", "teaching", "studies", "benchmarks"},
    "course": {"teaching", "studies", "benchmarks"},
    "circuits": {"diffusion", "steering"},
    "diffusion": {"circuits", "steering"},
}

MAX_LIBRARY, MAX_PACKAGE, MAX_FILE, MAX_MEDIAN, MAX_FUNCTION, MAX_PARAMETERS = 4800, 10500, 300, 6, 40, 7

# Functions that are called with a dozen keywords by intention: the public verbs and the tables of options.
ENTRY_POINTS = {"inpaint", "fuse", "fit_em", "fit_adam", "distil"}


@dataclass(frozen=True)
class Function:
    """One function or method: its name, code lines and parameters (without self and cls)."""

    name: str
    lines: int
    parameters: int


@dataclass(frozen=True)
class Import:
    """One import of an own module: what, where, inside which outermost function, and whether for types only."""

    target: str
    line: int
    function: str | None
    types_only: bool


@dataclass(frozen=True)
class Module:
    """One Python file."""

    name: str
    path: Path
    place: str

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """Folder or file of the library, `lab`, `course`, or a house outside the wheel."""
        first, *rest = self.name.split(".")
        return rest[0] if first == "tiramisu_edu" and rest else first

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @cached_property
    def code(self) -> set[int]:
        """Numbers of the code lines."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in LAYOUT:
                lines |= set(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))  # type: ignore[operator]
        return lines

    @cached_property
    def functions(self) -> list[Function]:
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS)]
        return [Function(node.name, self._lines_of(node), _parameters(node)) for node in nodes]

    def _lines_of(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        return sum(node.lineno <= line <= node.end_lineno for line in self.code)  # type: ignore[operator]

    def imports(self, known: set[str]) -> list[Import]:
        """The imports of modules in `known`."""
        return [
            Import(target, node.lineno, function, types_only)
            for node, function, types_only in _import_nodes(self.tree)
            for target in _targets(node, self.package, known)
            if target != self.name
        ]


@dataclass(frozen=True)
class House:
    """All modules by name, with their imports."""

    modules: dict[str, Module]
    imports: dict[str, list[Import]]

    def arrows(self) -> Iterator[tuple[Module, Import]]:
        return ((self.modules[name], found) for name, imports in self.imports.items() for found in imports)

    def hidden(self) -> list[str]:
        """Own imports inside a function, the start of a command excepted."""
        return [_at(m, i) for m, i in self.arrows() if i.function and not starts_command(m, i)]

    def types_only(self) -> list[str]:
        """Own imports in a TYPE_CHECKING block."""
        return [_at(m, i) for m, i in self.arrows() if i.types_only]

    def upward(self) -> list[str]:
        """Arrows to a room above; a command may start a script of the checkout."""
        return [
            _at(m, i)
            for m, i in self.arrows()
            if self.modules[i.target].room in _above(m.room) and not starts_command(m, i)
        ]

    def circles(self) -> list[list[str]]:
        """Groups of modules, or of the library's rooms, that import each other; files also by hidden imports."""
        files, rooms = nx.DiGraph(), nx.DiGraph()
        for m, i in self.arrows():
            files.add_edge(m.name, i.target)
            if m.room != self.modules[i.target].room and not starts_command(m, i):
                rooms.add_edge(m.room, self.modules[i.target].room)
        groups = [*nx.strongly_connected_components(files), *nx.strongly_connected_components(rooms)]
        return sorted(sorted(group) for group in groups if len(group) > 1)


def read_house(root: Path = ROOT) -> House:
    """The houses under `root`."""
    modules = {m.name: m for house in HOUSES for m in modules_under(root / house)}
    return House(modules, {name: m.imports(set(modules)) for name, m in modules.items()})


def modules_under(folder: Path) -> list[Module]:
    """Every Python file below a house."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, path.relative_to(folder.parent).as_posix()))
    return found


def tests() -> list[Module]:
    """The tests: their files have the same greatest length."""
    return modules_under(ROOT / "tests")


def starts_command(module: Module, found: Import) -> bool:
    """Whether the import stands at the start of a command, where it keeps `--help` fast."""
    if module.name == "tiramisu_edu.lab.doctor":
        return found.function is not None
    command = module.name == "tiramisu_edu.lab.cli" or module.name.startswith("tiramisu_edu.lab.commands.")
    return command and found.function is not None and found.function in ("main", "run")


def _above(room: str) -> set[str]:
    return ABOVE.get(room, set()) | (set() if room in ABOVE["library"] else ABOVE["library"])


def _at(module: Module, found: Import) -> str:
    where = f" in {found.function}" if found.function else ""
    return f"{module.place}:{found.line}{where} -> {found.target}"


def _import_nodes(
    node: ast.AST, function: str | None = None, types_only: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, str | None, bool]]:
    """Every import below `node`, with the outermost function it stands in and whether it is for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, function, types_only
        elif isinstance(child, FUNCTIONS):
            yield from _import_nodes(child, function or child.name, types_only)
        else:
            hides = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from _import_nodes(child, function, types_only or hides)


def _targets(node: ast.Import | ast.ImportFrom, package: str, known: set[str]) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known
    base = node.module or ""
    if node.level:
        above = package.split(".")
        base = ".".join(above[: len(above) - node.level + 1] + [base] * bool(base))
    whole = {f"{base}.{alias.name}" for alias in node.names}
    return whole & known if whole <= known else whole & known | {base} & known


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in arguments)


def table(modules: list[Module]) -> str:
    """Per folder: files, code lines, functions, their median and longest, and the longest file."""
    folders: dict[str, list[Module]] = {}
    for module in modules:
        folders.setdefault(str(Path(module.place).parent), []).append(module)
    rows = [("folder", "files", "code", "functions", "median", "longest function", "longest file")]
    for folder, found in sorted(folders.items()):
        functions = [function for module in found for function in module.functions]
        median = f"{statistics.median(function.lines for function in functions):g}" if functions else "-"
        longest = max(functions, key=lambda function: function.lines, default=None)
        file = max(found, key=lambda module: module.text.count("\n"))
        rows.append(
            (
                folder,
                str(len(found)),
                str(sum(len(module.code) for module in found)),
                str(len(functions)),
                median,
                f"{longest.lines} {longest.name}" if longest else "-",
                f"{file.text.count(chr(10))} {file.path.name}",
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def goals(house: House, others: list[Module]) -> list[tuple[str, int, int, list[str]]]:
    """(what, reached, goal, the places that are over it)."""
    package = [module for name, module in house.modules.items() if name.split(".")[0] == "tiramisu_edu"]
    library = [module for module in package if module.room not in ("lab", "course")]
    everything = [*house.modules.values(), *others]
    functions = [(function, module) for module in house.modules.values() for function in module.functions]
    long_files = [f"{m.text.count(chr(10))} {m.place}" for m in everything if m.text.count("\n") > MAX_FILE]
    long = [f"{f.lines} {m.place}:{f.name}" for f, m in functions if f.lines > MAX_FUNCTION]
    public = [(f, m) for f, m in functions if f.name not in ENTRY_POINTS]
    wide = [f"{f.parameters} {m.place}:{f.name}" for f, m in public if f.parameters > MAX_PARAMETERS]
    median = round(statistics.median(function.lines for function, _ in functions))
    return [
        ("code lines of the library", sum(len(m.code) for m in library), MAX_LIBRARY, []),
        ("code lines of the package", sum(len(m.code) for m in package), MAX_PACKAGE, []),
        ("median function", median, MAX_MEDIAN, []),
        (f"functions over {MAX_FUNCTION} lines", len(long), 0, long),
        (f"functions over {MAX_PARAMETERS} parameters", len(wide), 0, wide),
        (f"files over {MAX_FILE} lines", len(long_files), 0, long_files),
        ("own imports inside functions", len(house.hidden()), 0, house.hidden()),
        ("own imports for types only", len(house.types_only()), 0, house.types_only()),
        ("arrows that point upwards", len(house.upward()), 0, house.upward()),
        ("circles", len(house.circles()), 0, [" ".join(circle) for circle in house.circles()]),
    ]


def main() -> int:
    """Print the table and the goals; 0 when every goal is met."""
    house = read_house()
    print(table([*house.modules.values(), *tests()]))
    found = goals(house, tests())
    for what, reached, goal, places in found:
        print(f"{'ok ' if reached <= goal else 'NOT'} {what}: {reached} (goal {goal})")
        print("".join(f"      {place}\n" for place in places), end="")
    return int(any(reached > goal for _, reached, goal, _ in found))


if __name__ == "__main__":
    sys.exit(main())
