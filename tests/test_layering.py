"""Who may import whom: the import graph is read from the source and compared with the house."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jaxgan"

# Each module may import those named here (and, within a package, its siblings). Order is from the ground up.
ALLOWED = {
    "errors": set(),
    "cli": {"errors"},
    "ops": set(),
    "augment": {"errors"},
    "config": {"augment", "config_parsing", "errors"},
    "config_parsing": {"errors"},
    "presets": {"config", "errors"},
    "models": {"config", "ops"},
    "objectives": {"ops"},
    "optimizers": {"config"},
    "state": {"models"},
    "step": {"state", "objectives"},
    "recipe": {"augment", "config", "models", "objectives", "optimizers", "state", "step"},
    "parallel": {"errors"},
    "compilation": set(),
    "pace": {"parallel"},
    "clock": set(),
    "progress": set(),
    "data": {"errors", "parallel", "writers"},
    "writers": {"errors", "data"},
    "reporting": {"errors", "data", "writers", "augment"},
    "evaluation": {"errors", "data", "writers", "reporting"},
    "checkpoint": {"errors", "state"},
    "sampling": {"errors", "state"},
    "benchmark": {"cli", "config", "errors", "models", "ops", "pace", "parallel", "presets", "recipe", "state", "step"},
}
# The ring around the core: these may import anything below them, and nothing below may import them.
RING = {"books", "run_folder", "training", "trained", "generation", "dry_run", "launch", "export", "__init__"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Top-level names inside jaxgan that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxgan":
            for alias in node.names:
                known = (PACKAGE / alias.name).exists() or (PACKAGE / f"{alias.name}.py").exists()
                yield alias.name if known else "__init__"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxgan."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("jaxgan."))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_the_house_allows(path):
    name = name_of(path)
    if name in RING:
        return
    forbidden = set(imports(path)) - ALLOWED[name] - {name}
    assert not forbidden, f"{path.name} must not import {', '.join(sorted(forbidden))}"


def test_every_module_has_a_place_in_the_house():
    assert {name_of(path) for path in modules()} <= ALLOWED.keys() | RING


@pytest.mark.parametrize(
    ("word", "homes"),
    [
        ("flax", {"models", "state", "evaluation"}),
        ("orbax", {"checkpoint"}),
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
            for node in ast.walk(ast.parse(path.read_text()))
            for module in (
                [node.module or ""] if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            )
        }  # fmt: skip
        assert word not in found or name_of(path) in homes, f"{path} imports {word}"


@pytest.mark.parametrize("word", ["pmap(", "jax.process_index", "jax.process_count", "jax.distributed", "Mesh("])
def test_only_parallel_names_devices_and_processes(word):
    users = {name_of(path) for path in modules() if f"{word}" in path.read_text()} - {"parallel"}
    assert not users, users


def test_scripts_hold_flags_only():
    for path in sorted((PACKAGE.parent / "scripts").glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        assert not any(isinstance(node, ast.ClassDef | ast.While | ast.Try) for node in nodes), path
        libraries = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert libraries <= {"dataclasses"}, f"{path} computes with {libraries}"
