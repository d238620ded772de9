"""Where a comparison may be written is asked before the runs are redrawn, and a run's own page is no place for it."""

import pytest

from jaxgan.commands import report as command
from jaxgan.errors import InputError
from jaxgan.reporting.report import write_report


def test_a_refused_output_draws_nothing(make_run, tmp_path, monkeypatch):
    runs = [str(make_run(name, (8, 8, 1))) for name in ("one", "two")]
    page = write_report(runs[0])
    before = page.read_bytes()
    monkeypatch.setattr(command, "redraw", lambda run: pytest.fail("work before the check"))
    for output, message in ((tmp_path, "is a folder: give a file name"), (page, "exists and is no comparison")):
        with pytest.raises(InputError, match=message):
            command.main([*runs, "--output", str(output)])
    assert page.read_bytes() == before
    with pytest.raises(InputError, match="--overwrite is for comparisons"):
        command.main([runs[0], "--overwrite"])
