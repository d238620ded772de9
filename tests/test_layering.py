"""Who may import whom: the import graph is read from the source, lazy imports included, and compared with the house."""

import ast
import functools
from pathlib import Path

import pytest

import jaxgan

PACKAGE = Path(__file__).parents[1] / "jaxgan"

# Each room (or module at the root) may import those named here, and its own modules. `commands.cli`, the exit
# codes, and `commands.flags`, the parser, lie at the ground: what is run with `python -m` needs them too.
ALLOWED = {
    "errors": set(),
    "processes": {"errors"},
    "files": {"errors", "processes"},
    "clouds": {"errors", "files"},
    "pictures": {"errors", "files"},
    "parallel": {"errors", "processes"},
    "cli": {"errors", "processes"},
    "flags": {"errors"},
    "config": {"errors"},
    "ops": set(),
    "augment": {"config", "errors"},
    "models": {"config", "ops"},
    "objectives": {"ops"},
    "gan": {"augment", "config", "models", "objectives", "ops"},
    "runs": {"clouds", "config", "errors", "files", "gan", "processes"},
    "data": {"clouds", "config", "errors", "files", "parallel", "pictures", "processes"},
    "evaluation": {"data", "errors", "files", "pictures"},
    "inference": {"clouds", "config", "data", "errors", "files", "gan", "pictures", "processes", "runs"},
    "reporting": {"augment", "config", "data", "errors", "files", "pictures", "runs"},
    "training": {
        "clouds", "config", "data", "errors", "evaluation", "files", "gan", "inference", "objectives", "parallel",
        "pictures", "processes", "reporting", "runs",
    },
}  # fmt: skip
ALLOWED["benchmark"] = set(ALLOWED)
ALLOWED["commands"] = set(ALLOWED)
ALLOWED["__main__"] = {"commands"}


@functools.cache
def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


@functools.cache
def dotted(path):
    """`jaxgan/gan/step.py` as "gan.step", a package as its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name):
    return name.removeprefix("commands.") if name in ("commands.cli", "commands.flags") else name.split(".")[0]


@functools.cache
def resolve(name):
    """The module that a dotted name inside the package leads to; a public name leads to where it is defined."""
    name = name.removeprefix("jaxgan").lstrip(".")
    first = name.split(".")[0]
    if first in jaxgan._PUBLIC:
        return resolve(jaxgan._PUBLIC[first])
    while name and not (PACKAGE / Path(*name.split("."))).is_dir() and not source(name).exists():
        name = name.rpartition(".")[0]
    return name


def source(name):
    return PACKAGE / Path(*name.split(".")).with_suffix(".py")


def imports(tree):
    """Modules of jaxgan that a source imports, wherever and however it does so; "" is the package itself, unused."""
    plain = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide what is imported"
            if node.module and node.module.split(".")[0] == "jaxgan":
                yield from (resolve(f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            plain |= any(alias.name == "jaxgan" for alias in node.names)
            yield from (resolve(alias.name) for alias in node.names if alias.name.startswith("jaxgan."))
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                yield from ([resolve(node.args[0].value)] if node.args[0].value.startswith("jaxgan.") else [])
    if plain:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jaxgan":
                yield resolve(f"jaxgan.{node.attr}")


def graph():
    return {dotted(path): set(imports(tree_of(path))) - {"", dotted(path)} for path in modules()}


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_only_what_the_house_allows(path):
    here = room(dotted(path))
    assert here in ALLOWED, f"{path} has no place in the house"
    forbidden = {name for name in imports(tree_of(path)) if name} - {dotted(path)}
    forbidden = {name for name in forbidden if room(name) not in ALLOWED[here] | {here}}
    assert not forbidden, f"{dotted(path)} must not import {', '.join(sorted(forbidden))}"


def test_no_module_reaches_itself():
    edges, done = graph(), set()

    def visit(name, way):
        assert name not in way, " imports ".join([*way[way.index(name) :], name])
        if name not in done:
            for target in edges.get(name, ()):
                visit(target, [*way, name])
            done.add(name)

    for name in edges:
        visit(name, [])


@pytest.mark.parametrize(
    "text",
    [
        "import jaxgan\njaxgan.train()",
        "from jaxgan import train",
        "def f():\n    from jaxgan.training import loop",
        "import importlib\nimportlib.import_module('jaxgan.training.loop')",
        "import jaxgan.training.loop as loop",
    ],
)
def test_every_way_to_import_is_seen(text):
    assert set(imports(ast.parse(text))) - {""} == {"training.loop"}


def test_imports_by_a_computed_name_stand_in_one_place_each():
    for path in modules():
        for node in ast.walk(tree_of(path)):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name == "library":  # Of an extra: `errors.library`.
                assert isinstance(node.args[0], ast.Constant) and not node.args[0].value.startswith("jaxgan"), path
            if not name.endswith(("import_module", "__import__")) or isinstance(node.args[0], ast.Constant):
                continue
            start = ast.unparse(node.args[0])  # An f-string that begins with another library's name is clear enough.
            if not start.startswith("f'") or start.startswith(("f'{", "f'jaxgan")):
                where = ("config.registry", "commands.main", "errors")
                assert dotted(path) in where, f"{path} imports what no test can see"


@pytest.mark.parametrize(
    ("word", "homes"),
    [
        ("flax", {"models", "gan", "evaluation", "runs"}),
        ("orbax", {"runs"}),
        ("grain", {"data"}),
        ("tensorflow_datasets", {"data"}),
        ("matplotlib", {"reporting", "evaluation"}),
        ("tensorflow", set()),
    ],
)
def test_libraries_are_named_in_one_place(word, homes):
    for path in modules():
        found = {
            module.split(".")[0]
            for node in ast.walk(tree_of(path))
            for module in (
                [node.module or ""] if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            )
        }  # fmt: skip
        assert word not in found or room(dotted(path)) in homes, f"{path} imports {word}"


@pytest.mark.parametrize("word", ["pmap(", "jax.process_index", "jax.process_count", "jax.distributed", "Mesh("])
def test_only_parallel_names_devices_and_processes(word):
    users = {room(dotted(path)) for path in modules() if f"{word}" in path.read_text()} - {"parallel"}
    assert not users, users


def test_scripts_are_the_commands_and_nothing_else():
    for path in sorted((PACKAGE.parent / "scripts").glob("*.py")):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", '"""'))]
        assert lines == [
            "from jaxgan.commands.main import script",
            'if __name__ == "__main__":',
            f'    script("{path.stem}")',
        ], path
