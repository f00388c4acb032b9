"""Which rows run when, what the bank holds, and how the tensors of a call are cut and joined."""

from dataclasses import dataclass

import pytest
import torch
from diffusers.utils import BaseOutput

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, AIDError, aid
from aid_pipeline.attention.chunking import CPU_ROWS, auto_chunk, join_outputs, plan_runs, take_rows
from aid_pipeline.attention.kv_bank import Entry, Layer, bank_bytes, clear, collect
from tests.support.families import FAMILIES
from tests.support.running import describe, distance, interpolated, stock

CPU = torch.device("cpu")
CONFIG = AIDConfig(warmup=1.0, impl="sdpa")
GUIDED = InterpolationPlan.concat([InterpolationPlan.plain(5), InterpolationPlan.sequence([0.0, 0.2, 0.5, 0.6, 1.0])])
CHAIN = InterpolationPlan.keyframes([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


def rows_of(runs):
    return [run.rows.tolist() if isinstance(run.rows, torch.Tensor) else list(range(99))[run.rows] for run in runs]


def runs_of(plan, chunk, batch=None):
    return plan_runs(batch or len(plan), chunk, plan, CONFIG, False, CPU)


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("plan", [GUIDED, CHAIN], ids=["guided", "chain"])
@pytest.mark.parametrize("chunk", range(1, 12))
def test_every_row_runs_once_and_comes_back_in_its_place(plan, chunk):
    runs, back = runs_of(plan, chunk)
    order = [row for rows in rows_of(runs) for row in rows]
    assert sorted(order) == list(range(len(plan)))
    assert max(run.count for run in runs) <= chunk
    values = torch.tensor(order)
    assert torch.equal(values if back is None else values[back], torch.arange(len(plan)))


@pytest.mark.parametrize("plan", [GUIDED, CHAIN], ids=["guided", "chain"])
@pytest.mark.parametrize("chunk", range(1, 9))
def test_every_run_reads_the_right_endpoints(plan, chunk):
    """Sources of each run, taken back through the bank or the run itself, are the plan's."""
    runs, _ = runs_of(plan, chunk)
    saved = []
    for run, rows in zip(runs, rows_of(runs), strict=True):
        bank = saved if run.how.reads_bank else rows
        if run.how.plan is None:
            assert not plan.host_weights[rows].any()
        else:
            weights = run.how.plan.host_weights
            assert torch.equal(weights, plan.host_weights[rows])
            named = torch.tensor(bank)[run.how.plan.host_sources.long()]
            assert torch.equal(named[weights != 0], plan.host_sources[rows][weights != 0].long())
        saved = saved + rows[: run.how.saved_rows]


def test_endpoints_run_first_and_runs_are_about_equal():
    runs, _ = runs_of(GUIDED, 4)
    assert rows_of(runs) == [[5, 9, 0], [1, 2, 3], [4, 6, 7, 8]]
    assert [run.how.saved_rows for run in runs] == [2, 0, 0]
    assert [run.how.reads_bank for run in runs] == [False, False, True]


def test_one_run_is_the_batch_itself():
    runs, back = runs_of(GUIDED, None)
    assert rows_of(runs) == [list(range(10))]
    assert back is None
    assert runs[0].how.plan is GUIDED
    assert runs[0].how.saved_rows == 0


def test_plain_steps_are_cut_in_order():
    runs, back = runs_of(None, 4, batch=10)
    assert rows_of(runs) == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert back is None
    assert all(run.how.plan is None and not run.how.saved_rows for run in runs)


# ---------------------------------------------------------------- tensors


def test_batch_tensors_are_cut_and_others_are_not():
    rows = torch.tensor([2, 0])
    batch = torch.arange(3.0)[:, None].expand(3, 4)
    arguments = {
        "hidden_states": batch,
        "timestep": torch.tensor(7),
        "img_ids": torch.zeros(3, 3),  # three positions, by accident as many as rows
        "added_cond_kwargs": {"time_ids": batch, "image_embeds": [batch, batch[:1]]},
        "down_block_additional_residuals": (batch, torch.zeros(5, 2)),
        "return_dict": False,
        "nothing": None,
    }
    taken = take_rows(arguments, rows, 3)
    assert taken["hidden_states"][:, 0].tolist() == [2, 0]
    assert taken["timestep"] is arguments["timestep"]
    assert taken["img_ids"] is arguments["img_ids"]
    assert taken["added_cond_kwargs"]["time_ids"][:, 0].tolist() == [2, 0]
    assert [len(t) for t in taken["added_cond_kwargs"]["image_embeds"]] == [2, 1]
    assert isinstance(taken["down_block_additional_residuals"], tuple)
    assert [len(t) for t in taken["down_block_additional_residuals"]] == [2, 5]
    assert taken["return_dict"] is False
    assert taken["nothing"] is None
    assert take_rows(batch, slice(1, 3), 3).data_ptr() == batch[1:].data_ptr()
    assert arguments["hidden_states"] is batch


@dataclass
class Output(BaseOutput):
    sample: torch.Tensor


def test_outputs_are_joined_in_the_calls_order():
    parts = [torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0]])]
    back = torch.tensor([2, 0, 1]).argsort()
    ordered = [[0.0], [1.0], [2.0]]
    assert join_outputs(parts, back).tolist() == ordered
    assert join_outputs([(part,) for part in parts], back)[0].tolist() == ordered
    joined = join_outputs([Output(sample=part) for part in parts], back)
    assert isinstance(joined, Output)
    assert joined.sample.tolist() == ordered
    with pytest.raises(AIDError, match="chunk=None"):
        join_outputs([1.0, 2.0], back)


def test_the_bank_grows_by_runs_and_is_cleared():
    def entry(value):
        return Entry(
            torch.full((1, 2, 3, 8), value), torch.full((1, 2, 3, 8), -value), torch.ones(1, 3, dtype=torch.bool)
        )

    layers = [Layer("a"), Layer("b")]
    for value in (1.0, 2.0):
        for layer in layers:
            layer.saved = [entry(value), entry(value + 10)]
        collect(layers)
    assert layers[1].bank[1].key[:, 0, 0, 0].tolist() == [11, 12]
    assert layers[0].bank[0].value[:, 0, 0, 0].tolist() == [-1, -2]
    assert layers[0].bank[0].mask.shape == (2, 3)
    assert bank_bytes(layers) == 2 * 2 * 2 * (2 * 2 * 3 * 8 * 4)
    clear(layers)
    assert bank_bytes(layers) == 0


# ---------------------------------------------------------------- whole calls


@pytest.fixture(scope="module")
def pipe():
    return FAMILIES["sd1"].pipeline()


def test_more_endpoints_than_rows_in_a_run(pipe):
    """A chain of keyframes in chunks smaller than the number of keyframes."""
    positions = [0.0, 0.4, 1.0, 1.7, 2.0, 2.5, 3.0]
    shares = [position / 3 for position in positions]
    call = FAMILIES["sd1"].call(pipe, shares, steps=2)
    plan = InterpolationPlan.keyframes(positions)
    whole = interpolated(pipe, call, shares, CONFIG, plan=plan)
    assert distance(whole, stock(pipe, call)) > 1e-3
    for chunk in (1, 2, 3, 5):
        assert distance(interpolated(pipe, call, shares, CONFIG, plan=plan, chunk=chunk), whole) < 1e-4


def test_no_bank_outlives_its_call(pipe):
    call = FAMILIES["sd1"].call(pipe, 5, steps=1)
    with aid(pipe, CONFIG, describe(call, torch.linspace(0, 1, 5).tolist(), chunk=2)) as handle:
        stock(pipe, call)
        assert bank_bytes(handle._layers.values()) == 0
        assert handle._state.current is None


def test_auto(pipe):
    assert auto_chunk(7, CPU) == 7
    assert auto_chunk(CPU_ROWS, CPU) == CPU_ROWS
    assert auto_chunk(2 * CPU_ROWS + 1, CPU) == (2 * CPU_ROWS + 1 + 2) // 3
    with pytest.raises(AIDError, match="bytes_per_row"):
        auto_chunk(7, torch.device("cuda"))
    coefficients = torch.linspace(0, 1, 11).tolist()
    call = FAMILIES["sd1"].call(pipe, coefficients, steps=2)
    whole = interpolated(pipe, call, coefficients, CONFIG)
    seen = []
    hook = pipe.unet.conv_in.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    try:
        frames = interpolated(pipe, call, coefficients, CONFIG, chunk="auto")
    finally:
        hook.remove()
    assert seen == [11, 11, 11, 11]
    assert distance(frames, whole) < 1e-4
