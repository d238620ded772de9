"""The recipes of CONTRIBUTING.md do what they say: their code is taken from the page and run."""

import re
import sys
import types
from pathlib import Path

import pytest

from jaxgan.data.readers import READERS
from jaxgan.models import GENERATORS
from jaxgan.objectives.losses import LOSSES

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M).group(1)


@pytest.mark.parametrize(
    ("title", "registry", "name"),
    [
        ("Add a loss", LOSSES, "smoothed"),
        ("Add a network", GENERATORS, "perceptron"),
        ("Add a file reader", READERS, ".pgm"),
    ],
)
def test_a_recipe_works_and_is_short(title, registry, name, monkeypatch):
    made, tried = re.findall(r"```python\n(.*?)```", section(title), re.S)
    assert made.count("\n") < 40
    module = types.ModuleType("recipe")
    monkeypatch.setitem(sys.modules, "recipe", module)
    assert name not in registry
    try:
        exec(compile(made, f"CONTRIBUTING.md, {title}", "exec"), module.__dict__)
        assert name in registry
        exec(compile(tried, f"CONTRIBUTING.md, {title}", "exec"), module.__dict__)
    finally:
        registry.pop(name, None)
    with pytest.raises((Exception, SystemExit)):  # The trial notices that the entry is gone.
        exec(compile(tried, f"CONTRIBUTING.md, {title}", "exec"), module.__dict__)
