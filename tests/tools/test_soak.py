"""The soak: a few of its rounds in a real server, and what it would say of memory and files that grow."""

from __future__ import annotations

import pytest

from tools.soak import judged, soak


@pytest.mark.server
def test_a_few_rounds_leave_no_file_open(comfy, client):
    told = soak(comfy, client, rounds=3, warm_up=1)
    assert told["ok"] and told["rounds"] == 3 and told["adapters"] == 4
    assert told["mb_at_end"] > 100, "the memory is the server's"


@pytest.mark.parametrize(
    ("memory", "handles", "ok"),
    [
        ([1000 + (number % 7) for number in range(50)], [40] * 50, True),
        ([1000 + number for number in range(50)], [40] * 50, False),
        ([1000.0] * 50, [40 + number for number in range(50)], False),
        ([1000.0] * 50, [40, 44, *[40] * 47, 43], True),
    ],
)
def test_growth_is_told_from_noise(memory, handles, ok):
    assert judged(memory, handles)["ok"] is ok
