"""The examples in the docstrings of the public functions give what stands there, on the run that `train`'s makes."""

import doctest
import inspect

import pytest

import jaxgan

FUNCTIONS = sorted(name for name in jaxgan._PUBLIC if inspect.isfunction(getattr(jaxgan, name)))


def check(name):
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    value = getattr(jaxgan, name)
    for test in finder.find(value, name, globs=dict(vars(inspect.getmodule(value)))):
        runner.run(test)
    failed, tried = runner.summarize(verbose=False)
    assert tried and not failed, f"the examples of {name} do not hold: see above"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder in which the example of `train` has been run."""
    folder = tmp_path_factory.mktemp("doctests")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        check("train")
    return folder


@pytest.mark.parametrize("name", [*FUNCTIONS, "InputError"])
def test_the_examples_of_the_public_api_hold(name, trained, monkeypatch):
    monkeypatch.chdir(trained)
    if name != "train":  # The fixture ran it.
        check(name)


def test_examples_that_do_not_hold_are_noticed(monkeypatch):
    monkeypatch.setattr(jaxgan.InputError, "__doc__", ">>> 1 + 1\n3\n")
    with pytest.raises(AssertionError, match="do not hold"):
        check("InputError")
