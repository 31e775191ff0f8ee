"""Two kills of ``make kill``: processes that really die, in a training on the embedded base."""

from __future__ import annotations

import os

import pytest

from tools.kill import kill


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="forks processes")
def test_two_killed_trainings_end_as_the_unkilled_one(tmp_path):
    told = kill(kills=2, steps=10, seed=149, folder=tmp_path)
    assert told["kills"] == 2 and told["equal"] == told["trainings"]
    assert any(told["last_resumed_from"]), "no kill came where there was something to go on from"
