"""What Python users meet first: the names are there to be seen, and errors name arguments, not flags."""

import pytest

import jaxgan
from jaxgan.commands import cli
from jaxgan.errors import ArgumentError, InputError
from jaxgan.inference.trained_model import label_numbers
from jaxgan.training.resume import find_resume_point


def test_dir_shows_the_public_names():
    assert {"train", "load_trained_model", "generate_samples", "Config", "__version__"} <= set(dir(jaxgan))
    assert set(jaxgan.__all__) <= set(dir(jaxgan))
    assert not {"Any", "annotations", "importlib"} & set(dir(jaxgan)), "what is for users alone"


@pytest.mark.parametrize(
    ("call", "said", "on_command_line"),
    [
        (lambda _: jaxgan.generate_samples(None, 0), "n=0 is not valid", "--num_samples 0 is not valid"),
        (lambda _: jaxgan.generate_samples(None, 1, seed=-1), "seed=-1 is", "--seed -1 is"),
        (lambda _: jaxgan.generate_samples(None, 1, truncation=0.0), "truncation=0.0 is", "--truncation 0.0 is"),
        (lambda _: jaxgan.load_trained_model(*no_step(_)), "step=x is not valid", "--step x is not valid"),
        (
            lambda _: label_numbers(["cta"], ["cat", "dog"]),
            "labels='cta' is not valid: did you mean cat?",
            "--labels 'cta'",
        ),
        (lambda _: jaxgan.train("mnits", _, "demo"), "config=mnits: no such", "--config mnits: no such"),
        (lambda _: jaxgan.train("mnist:gam", _, "demo"), "config: no variant 'gam'", "--config: no variant 'gam'"),
        (lambda _: find_resume_point(*a_run(_)), "workdir=", "--workdir "),
    ],
)
def test_errors_name_arguments_in_python_and_flags_on_the_command_line(call, said, on_command_line, tmp_path, capsys):
    with pytest.raises(InputError) as caught:
        call(tmp_path)
    assert str(caught.value).startswith(said) and "--" not in str(caught.value)
    with pytest.raises(SystemExit) as left:
        cli.run(lambda: call(tmp_path))
    assert left.value.code == 2 and capsys.readouterr().err.startswith(f"error: {on_command_line}")


def no_step(folder):
    (folder / "checkpoints" / "3").mkdir(parents=True, exist_ok=True)
    return folder, "x"


def a_run(folder):
    (folder / "metrics.jsonl").touch()
    return folder, "never"


def test_an_argument_without_a_value_to_show():
    error = ArgumentError("labels", "", ": leave them out")
    assert (str(error), error.on_command_line) == ("labels: leave them out", "--labels: leave them out")


def test_classes_that_are_called_by_numbers_have_only_their_names():
    """Else `--labels 0,1` of the classes 1, 2 and 3 would be the first one twice."""
    assert label_numbers(["3", "1"], ["1", "2", "3"]) == [2, 0]
    with pytest.raises(InputError, match="labels='0' is not valid: choose one of 1, 2, 3"):
        label_numbers(["0", "1"], ["1", "2", "3"])
    assert label_numbers([0, 1, "1"], ["cat", "dog"]) == [0, 1, 1]
    with pytest.raises(InputError, match="without classes"):
        label_numbers(["1"], [])
