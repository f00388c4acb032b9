"""InterpolationPlan: what the constructors build, what they refuse, and what chunking makes of a plan."""

import dataclasses

import pytest
import torch

from aid_kernels import InterpolationPlan


def terms(plan: InterpolationPlan) -> list[dict[int, float]]:
    rows = zip(plan.sources.tolist(), plan.weights.tolist(), strict=True)
    return [{s: pytest.approx(w) for s, w in zip(*row, strict=True) if w} for row in rows]


def test_sequence_mixes_first_and_last_row() -> None:
    plan = InterpolationPlan.sequence([0, 0.25, 0.25, 0, 1, 1])
    assert terms(plan) == [{}, {0: 0.75, 5: 0.25}, {0: 0.75, 5: 0.25}, {0: 1.0}, {5: 1.0}, {}]
    assert plan.sources.dtype == torch.int32
    assert plan.weights.dtype == torch.float32
    assert (len(plan), plan.num_sources, plan.bank_size, plan.num_interpolated) == (6, 2, 6, 4)


def test_keyframes_mix_neighbouring_keyframes() -> None:
    expected = [{}, {0: 0.5, 2: 0.5}, {}, {2: 0.75, 4: 0.25}, {}]
    assert terms(InterpolationPlan.keyframes([0, 0.5, 1, 1.25, 2])) == expected
    assert terms(InterpolationPlan.keyframes([0, 0.5, 0, 0.25, 1], 2)) == expected
    assert terms(InterpolationPlan.keyframes([0, 0.5, 0, 0.25, 1], [2, 2])) == expected
    assert terms(InterpolationPlan.keyframes([0, 0.5, 0.75, 0, 1], [3, 1])) == [
        {},
        {0: 0.5, 3: 0.5},
        {0: 0.25, 3: 0.75},
        {},
        {},
    ]


def test_keyframes_of_one_leg_are_a_sequence() -> None:
    t = torch.linspace(0, 1, 7)
    chain, sequence = InterpolationPlan.keyframes(t), InterpolationPlan.sequence(t)
    assert torch.equal(chain.weights, sequence.weights)
    assert torch.equal(chain.sources, sequence.sources)


def test_barycentric_finds_or_takes_endpoints() -> None:
    corners = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]
    grid = [*corners, [0.2, 0.3, 0.5], [0, 1, 0]]
    expected = [{}, {}, {}, {0: 0.2, 1: 0.3, 2: 0.5}, {1: 1.0}]
    assert terms(InterpolationPlan.barycentric(grid)) == expected
    assert terms(InterpolationPlan.barycentric(grid, endpoints=[0, 4, 2]))[3] == {0: 0.2, 4: 0.3, 2: 0.5}
    with pytest.raises(ValueError, match=r"no row has weight 1 on endpoint\(s\) \[2\]"):
        InterpolationPlan.barycentric([[1.0, 0, 0], [0, 1, 0], [0, 0.5, 0.5]])
    with pytest.raises(ValueError, match="must sum to 1"):
        InterpolationPlan.barycentric([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])


def test_concat_shifts_and_pads() -> None:
    joined = InterpolationPlan.concat(
        [
            InterpolationPlan.plain(2),
            InterpolationPlan.sequence([0, 0.5, 1]),
            InterpolationPlan.barycentric([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.3, 0.5]]),
        ]
    )
    assert terms(joined) == [{}, {}, {}, {2: 0.5, 4: 0.5}, {}, {}, {}, {}, {5: 0.2, 6: 0.3, 7: 0.5}]
    assert joined.bank_size <= len(joined)
    with pytest.raises(ValueError, match="separate bank cannot be concatenated"):
        InterpolationPlan.concat([joined.select([8])])
    with pytest.raises(ValueError, match="at least one"):
        InterpolationPlan.concat([])


def test_select_keeps_or_renumbers_sources() -> None:
    plan = InterpolationPlan.sequence(torch.linspace(0, 1, 5))
    assert terms(plan.select([3, 1])) == [{0: 0.25, 4: 0.75}, {0: 0.75, 4: 0.25}]
    assert terms(plan.select(slice(2, 4), bank=[0, 4])) == [{0: 0.5, 1: 0.5}, {0: 0.25, 1: 0.75}]
    assert terms(plan.select([0, 4], bank=[])) == [{}, {}]
    with pytest.raises(ValueError, match=r"lacks source\(s\) \[4\]"):
        plan.select([1], bank=[0])
    with pytest.raises(IndexError, match=r"\[5\]"):
        plan.select([5])


def test_off_is_plain_with_the_same_shapes() -> None:
    plan = InterpolationPlan.sequence([0, 0.5, 1])
    off = plan.off()
    assert terms(off) == [{}, {}, {}]
    assert (off.weights.shape, off.bank_size) == (plan.weights.shape, plan.bank_size)
    assert torch.equal(off.sources, plan.sources)


def test_schedule_puts_heavy_rows_first() -> None:
    plan = InterpolationPlan([[0, 1, 2]] * 4, [[0.0, 0, 0], [0, 1, 0], [0.2, 0.3, 0.5], [0, 0, 0]])  # type: ignore[arg-type]
    assert plan.schedule.tolist() == [2, 1, 0, 3, 2]


def test_plan_is_immutable_and_keeps_its_own_copy() -> None:
    weights = torch.tensor([[0.5, 0.5]])
    plan = InterpolationPlan(torch.tensor([[0, 1]]), weights)
    weights.zero_()
    assert terms(plan) == [{0: 0.5, 1: 0.5}]
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.weights = weights  # type: ignore[misc]


def test_terms_are_those_of_non_zero_weight() -> None:
    plan = InterpolationPlan(
        torch.tensor([[3, 1], [0, 2], [2, 0]]), torch.tensor([[0.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    )
    assert plan.host_terms() == [[], [(0, 0, 0.25), (1, 2, 0.75)], [(1, 0, 1.0)]]


def test_a_plan_comes_back_from_its_tensors() -> None:
    for plan in (InterpolationPlan.sequence([0, 0.5, 1]).select([1, 2]), InterpolationPlan.plain(2)):
        again = InterpolationPlan.from_tensors(plan.tensors())
        assert all(torch.equal(*pair) for pair in zip(plan.tensors(), again.tensors(), strict=True))
        assert (repr(again), again.bank_size) == (repr(plan), plan.bank_size)


def test_building_a_plan_leaves_its_arguments_alone() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
    before = weights.clone()
    InterpolationPlan.barycentric(weights)
    assert torch.equal(weights, before)


def test_repr_reads_well() -> None:
    text = repr(InterpolationPlan.sequence(torch.linspace(0, 1, 5)))
    assert "5 rows, 3 interpolated" in text
    assert "row 0: plain" in text
    assert "row 1: 0.75 x [0] + 0.25 x [4]" in text
    assert "88 more rows" in repr(InterpolationPlan.plain(100))


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ([0.0], "m >= 2"),
        ([[0.0, 1.0]], "shape"),
        ([0.0, float("nan"), 1.0], "finite"),
        ([0.1, 1.0], "start at 0"),
        ([0.0, 0.9], "end at 1"),
        ([0.0, 1.2, 1.0], r"\[0, 1\]"),
    ],
)
def test_sequence_refuses(coefficients: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpolationPlan.sequence(coefficients)


@pytest.mark.parametrize(
    ("coefficients", "frames_per_key", "message"),
    [
        ([0, 0.5, 2], None, "needs a row at"),
        ([0, 1, 0.5], None, "never decrease"),
        ([0, 0.5, 1, 1.5], None, "last row must be one"),
        ([0, 0.5, 0, 1], 2, "do not divide"),
        ([0, 0.5, 0.5, 1], [1, 2], "leg must start at coefficient 0"),
        ([0, 0.5, 0, 1], [2, 2], "add up to 3"),
    ],
)
def test_keyframes_refuses(coefficients: object, frames_per_key: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InterpolationPlan.keyframes(coefficients, frames_per_key)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sources", "weights", "error", "message"),
    [
        ([[0, 1]], [[0.5, float("nan")]], ValueError, "row 0 hold NaN"),
        ([[0, 1]], [[0.5, 0.4]], ValueError, "sum to 0.9"),
        ([[0, 1]], [[1.5, -0.5]], ValueError, r"\[0, 1\]"),
        ([[0, -1]], [[0.5, 0.5]], ValueError, "indices >= 0"),
        ([0, 1], [0.5, 0.5], ValueError, "rows, sources per row"),
        ([[0, 1, 2]], [[0.5, 0.5]], ValueError, r"\(1, 3\) and \(1, 2\)"),
        ([[0.0, 1.0]], [[0.5, 0.5]], TypeError, "integers"),
        ([[0, 1]], [[0, 1]], TypeError, "floating point"),
    ],
)
def test_plan_refuses(sources: object, weights: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        InterpolationPlan(torch.tensor(sources), torch.tensor(weights))


def test_sum_tolerance() -> None:
    InterpolationPlan(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.50009]]))
    with pytest.raises(ValueError, match="sum to"):
        InterpolationPlan(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5002]]))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("last", [3.0, 1e6, 1e15])
def test_a_chain_with_more_keyframes_than_rows_is_refused_at_once(last):
    with pytest.raises(ValueError, match="every keyframe"):
        InterpolationPlan.keyframes([0, last])
