"""Bradley-Terry ranking of methods from votes between two at a time, with bootstrap intervals.

Each method has a strength p; one wins against another with probability p_i / (p_i + p_j). Strengths are fitted by Hunter's MM
iteration (2004) with half a vote for and against every method, so that one without a defeat stays finite. A tie is half a vote
for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Vote = tuple[str, str, float]
"""One method, another, and the share of the vote that the first got: 1, 0 or 0.5."""
PRIOR = 0.5


@dataclass(frozen=True)
class Standing:
    """One method: strength as the probability to beat an average rival, its 95 % interval, and the votes it took part in."""

    name: str
    strength: float
    low: float
    high: float
    votes: int


def wins_of(votes: Sequence[Vote], names: Sequence[str]) -> np.ndarray:
    """[n, n] votes of the row's method over the column's."""
    index = {name: at for at, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for one, two, share in votes:
        wins[index[one], index[two]] += share
        wins[index[two], index[one]] += 1 - share
    return wins


def strengths(wins: np.ndarray, rounds: int = 500) -> np.ndarray:
    """[n] strengths p with geometric mean 1."""
    n = len(wins)
    p, ghost = np.ones(n), 1.0
    games = wins + wins.T
    for _ in range(rounds):
        # The half votes are for and against a rival of strength 1.
        expected = (games / (p[:, None] + p[None])).sum(1) + 2 * PRIOR / (p + ghost)
        following = (wins.sum(1) + PRIOR) / expected
        following /= np.exp(np.log(following).mean())
        if np.abs(np.log(following / p)).max() < 1e-10:
            break
        p = following
    return p


def ranking(votes: Sequence[Vote], draws: int = 400, seed: int = 0) -> list[Standing]:
    """All methods that were voted on, the strongest first."""
    names = sorted({name for one, two, _ in votes for name in (one, two)})
    if not names:
        return []

    def chances(chosen: Sequence[Vote]) -> np.ndarray:
        p = strengths(wins_of(chosen, names))
        return p / (1 + p)

    rng = np.random.default_rng(seed)
    drawn = np.stack([chances([votes[i] for i in rng.integers(len(votes), size=len(votes))]) for _ in range(draws)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    value = chances(votes)
    counts = {name: sum(name in vote[:2] for vote in votes) for name in names}
    found = [Standing(n, float(value[i]), float(low[i]), float(high[i]), counts[n]) for i, n in enumerate(names)]
    return sorted(found, key=lambda one: -one.strength)
