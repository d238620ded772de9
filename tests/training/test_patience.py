"""What takes long says so, again and again, until it is done."""

import time

from jaxgan import parallel
from jaxgan.training import patience
from jaxgan.training.patience import told_when_long


def test_only_what_takes_long_is_told_and_only_until_it_is_done(monkeypatch):
    said = []
    monkeypatch.setattr(parallel, "say", lambda message, passing: said.append(message))
    with told_when_long("thinking"):
        pass
    assert not said
    monkeypatch.setattr(patience, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(patience, "EVERY_SECONDS", 0.01)
    with told_when_long("compiling"):
        while len(said) < 2:
            time.sleep(0.01)
    count = len(said)
    assert all(line.startswith("compiling: 0 s so far") for line in said)
    time.sleep(0.1)
    assert len(said) == count
