"""Plan of a call in chunks: which rows run when, and what the bank holds; whole calls in chunks."""

import gc

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_kernels.interpolated_attention.impl.triton import support as triton_support
from aid_pipeline import AIDConfig, aid
from aid_pipeline.attention.chunking import plan_chunks
from aid_pipeline.attention.kv_bank import EndpointKV
from aid_pipeline.attention.state import AttentionContext
from tests.support.families import FAMILIES
from tests.support.running import describe, distance, interpolated, stock

CPU = torch.device("cpu")
BASE = AttentionContext(None, AIDConfig(warmup=1.0, impl="sdpa"))
GUIDED = InterpolationPlan.concat([InterpolationPlan.plain(5), InterpolationPlan.sequence([0.0, 0.2, 0.5, 0.6, 1.0])])
CHAIN = InterpolationPlan.keyframes([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


def rows_of(chunks):
    return [
        chunk.rows.tolist() if isinstance(chunk.rows, torch.Tensor) else list(range(99))[chunk.rows] for chunk in chunks
    ]


def chunks_of(plan, most, batch=None):
    return plan_chunks(batch or len(plan), most, plan, BASE, CPU)


@pytest.mark.parametrize("plan", [GUIDED, CHAIN], ids=["guided", "chain"])
@pytest.mark.parametrize("most", range(1, 12))
def test_every_row_runs_once_and_comes_back_in_its_place(plan, most):
    chunks, back = chunks_of(plan, most)
    order = [row for rows in rows_of(chunks) for row in rows]
    assert sorted(order) == list(range(len(plan)))
    assert max(chunk.count for chunk in chunks) <= most
    values = torch.tensor(order)
    assert torch.equal(values if back is None else values[back], torch.arange(len(plan)))


@pytest.mark.parametrize("plan", [GUIDED, CHAIN], ids=["guided", "chain"])
@pytest.mark.parametrize("most", range(1, 9))
def test_every_chunk_reads_the_right_endpoints(plan, most):
    """Sources of each chunk, taken back through the bank or the chunk itself, are the plan's."""
    chunks, _ = chunks_of(plan, most)
    saved = []
    for chunk, rows in zip(chunks, rows_of(chunks), strict=True):
        bank = saved if chunk.context.reads_bank else rows
        if chunk.context.plan is None:
            assert not plan.host_weights[rows].any()
        else:
            weights = chunk.context.plan.host_weights
            assert torch.equal(weights, plan.host_weights[rows])
            named = torch.tensor(bank)[chunk.context.plan.host_sources.long()]
            assert torch.equal(named[weights != 0], plan.host_sources[rows][weights != 0].long())
        saved = saved + rows[: chunk.context.saved_rows]


def test_endpoints_run_first_and_chunks_are_about_equal():
    chunks, _ = chunks_of(GUIDED, 4)
    assert rows_of(chunks) == [[5, 9, 0], [1, 2, 3], [4, 6, 7, 8]]
    assert [chunk.context.saved_rows for chunk in chunks] == [2, 0, 0]
    assert [chunk.context.reads_bank for chunk in chunks] == [False, False, True]


def test_one_chunk_is_the_batch_itself():
    chunks, back = chunks_of(GUIDED, None)
    assert rows_of(chunks) == [list(range(10))]
    assert back is None
    assert chunks[0].context.plan is GUIDED
    assert chunks[0].context.saved_rows == 0


def test_plain_steps_are_split_in_order():
    chunks, back = chunks_of(None, 4, batch=10)
    assert rows_of(chunks) == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert back is None
    assert all(chunk.context.plan is None and not chunk.context.saved_rows for chunk in chunks)


# ---------------------------------------------------------------- whole calls


@pytest.fixture(scope="module")
def pipe():
    return FAMILIES["sd1"].pipeline()


def test_more_endpoints_than_rows_in_a_chunk(pipe):
    """A chain of keyframes in chunks smaller than the number of keyframes."""
    positions = [0.0, 0.4, 1.0, 1.7, 2.0, 2.5, 3.0]
    shares = [position / 3 for position in positions]
    call = FAMILIES["sd1"].call(pipe, shares, steps=2)
    plan = InterpolationPlan.keyframes(positions)
    whole = interpolated(pipe, call, shares, BASE.config, plan=plan)
    assert distance(whole, stock(pipe, call)) > 1e-3
    for chunk in (1, 2, 3, 5):
        assert distance(interpolated(pipe, call, shares, BASE.config, plan=plan, chunk=chunk), whole) < 1e-4


def test_no_bank_outlives_its_call(pipe):
    call = FAMILIES["sd1"].call(pipe, 5, steps=1)
    with aid(pipe, BASE.config, describe(call, torch.linspace(0, 1, 5).tolist(), chunk=2)):
        stock(pipe, call)
        assert not any(isinstance(thing, EndpointKV) for thing in gc.get_objects())


@pytest.mark.slow
@pytest.mark.skipif(
    not triton_support.interpreting(), reason="needs TRITON_INTERPRET=1; GPUs run the kernel in tests/kernels"
)
@pytest.mark.parametrize("mode", ["outer", "inner"])
def test_the_kernel_serves_a_chunked_sequence(pipe, mode):
    """The strides, banks and plans that pipelines make, under Triton's interpreter."""
    coefficients = [0.0, 0.3, 1.0]
    call = FAMILIES["sd1"].call(pipe, coefficients, steps=1)
    by_kernel, by_stock = (
        interpolated(pipe, call, coefficients, AIDConfig(mode=mode, warmup=1.0, impl=impl), chunk=2)
        for impl in ("triton", "sdpa")
    )
    assert distance(by_kernel, by_stock) < 1e-5
