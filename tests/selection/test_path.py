"""The path search against trying every path."""

import itertools
import random

import numpy as np
import pytest

from aid_pipeline.errors import SelectionError
from aid_pipeline.selection.path import most_uniform_path, reachable_pairs


def brute_force(d, frames):
    """Every path, by spread, then largest distance, then indices."""
    inner = itertools.combinations(range(1, len(d) - 1), frames - 2)
    paths = [(0, *some, len(d) - 1) for some in inner]

    def rank(path):
        steps = [d[i][j] for i, j in itertools.pairwise(path)]
        return max(steps) - min(steps), max(steps), path

    return min(paths, key=rank)


@pytest.mark.parametrize("kind", ["distinct", "few values", "equal", "along a line"])
def test_the_search_equals_brute_force(kind):
    lottery = random.Random(kind)
    for _ in range(500):  # of each kind: 2,000 in all
        n = lottery.randint(2, 9)
        frames = lottery.randint(2, n)
        if kind == "along a line":  # adjacent changes that add up, as images' nearly do
            place = np.cumsum([lottery.choice([0.0, 0.1, 0.1, 0.7]) for _ in range(n)])
            d = abs(place[:, None] - place[None, :])
        else:
            draw = {
                "distinct": lottery.random,
                "few values": lambda: lottery.randint(1, 4) / 10,
                "equal": lambda: 0.3,
            }[kind]
            d = np.array([[draw() for _ in range(n)] for _ in range(n)])
        assert most_uniform_path(d, frames) == brute_force(d, frames), (d.tolist(), frames)


def test_only_pairs_that_can_be_neighbours_are_read():
    """The rest need not be measured, so it may hold anything."""
    rng = np.random.default_rng(0)
    d = rng.random((9, 9))
    poisoned = np.full_like(d, np.nan)
    for pair in reachable_pairs(9, 6):
        poisoned[pair] = d[pair]
    assert most_uniform_path(poisoned, 6) == most_uniform_path(d, 6) == brute_force(d, 6)


def test_all_frames_or_only_the_ends():
    d = np.random.default_rng(1).random((6, 6))
    assert most_uniform_path(d, 6) == (0, 1, 2, 3, 4, 5)
    assert most_uniform_path(d, 2) == (0, 5)


def test_ninety_frames_are_no_trouble():
    """Too many for trying every path: the choice beats uniform thinning and is of the right kind."""
    place = np.cumsum(np.random.default_rng(2).random(48) ** 3)
    d = abs(place[:, None] - place[None, :])

    def spread(path):
        steps = [d[pair] for pair in itertools.pairwise(path)]
        return max(steps) - min(steps)

    found = most_uniform_path(d, 32)
    assert len(found) == 32
    assert found[0] == 0
    assert found[-1] == 47
    assert spread(found) < spread([round(i * 47 / 31) for i in range(32)])


@pytest.mark.parametrize(
    ("d", "frames", "said"),
    [
        (np.zeros((4, 4)), 5, "explore at least 5"),
        (np.zeros((4, 4)), 1, "cannot choose 1"),
        (np.zeros((1, 1)), 2, "cannot choose 2"),
        (np.zeros((3, 4)), 3, "square"),
        (np.full((4, 4), np.inf), 3, "finite"),
    ],
)
def test_what_cannot_be_searched(d, frames, said):
    with pytest.raises(SelectionError, match=said):
        most_uniform_path(d, frames)
