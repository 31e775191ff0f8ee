"""The fuzz run: a part of it finds no fault, and it would find one."""

from __future__ import annotations

import random

import pytest
import torch

from acfun_core.errors import ACFunError
from tools import fuzz


def test_a_part_of_the_fuzz_run_finds_no_fault():
    tally = fuzz.run(count=400, seed=1)
    assert not tally.faults, tally.shown
    assert tally.refused > 200 and tally.accepted > 5


@pytest.mark.parametrize("mutate", fuzz.FILE_MUTATIONS)
def test_the_same_seed_makes_the_same_mutant(mutate):
    file = fuzz.good_files()[1]
    one, two = (mutate(file, random.Random(5)) for _ in range(2))
    assert one == two != file


def test_faults_of_each_kind_are_counted():
    def raises(error):
        raise error

    tally = fuzz.Tally()
    tally.try_one("right", lambda: raises(ACFunError("no")))
    tally.try_one("foreign", lambda: raises(IndexError("no")))
    tally.try_one("infinite", lambda: {"a": [torch.tensor([1.0, float("inf")])]})
    assert tally.refused == 1 and tally.faults == {"exceptions": 1, "non_finite": 1}


@pytest.mark.skipif(not fuzz.forget_peak(), reason="the kernel does not measure the peak of a process again")
def test_a_jump_of_the_memory_is_a_fault():
    tally = fuzz.Tally()
    tally.try_one("large", lambda: torch.ones(90_000_000).sum().item())
    assert tally.faults == {"memory": 1}
