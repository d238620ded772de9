"""Runs of this room are drawn by nobody: figures and reports, half a small run's time, have tests of their own."""

import pytest

from jaxgan.training import drawing


@pytest.fixture(autouse=True, scope="module")
def nothing_is_drawn():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("make_figures", "write_report"):
            patch.setattr(drawing, name, lambda run_dir: None)
        yield
