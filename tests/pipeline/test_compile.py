"""`torch.compile` around the denoiser, whole, in place and by region: same frames, no graph break, no extra graph."""

import pytest
import torch
import torch._dynamo

from aid_pipeline.config import AIDConfig
from tests.pipeline.families import FAMILIES
from tests.pipeline.oracle import Settings, oracle_frames
from tests.pipeline.running import TOLERANCE, UNEVEN, distance, interpolated, stock


@pytest.fixture(autouse=True)
def _no_graphs_of_other_tests():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(pipe, how, **options):
    name = "unet" if hasattr(pipe, "unet") else "transformer"
    denoiser = getattr(pipe, name)
    if how == "whole":
        setattr(pipe, name, torch.compile(denoiser, **options))
    elif how == "in_place":
        denoiser.compile(**options)
    else:
        denoiser.compile_repeated_blocks(**options)
    return pipe


@pytest.mark.parametrize("how", ["whole", "in_place", "regional"])
@pytest.mark.parametrize(("name", "mode"), [("sd1", "outer"), ("sd1", "inner"), ("flux", "outer")])
def test_graphs_without_a_break(name, mode, how):
    """fullgraph=True raises at a graph break; "eager" shows that, without the cost of a compiler."""
    family = FAMILIES[name]
    pipe = compiled(family.fresh(), how, backend="eager", fullgraph=True)
    call = family.call(pipe, UNEVEN, steps=2)
    config = AIDConfig(mode=mode, impl="sdpa")
    before = stock(pipe, call)
    frames = interpolated(pipe, call, UNEVEN, config)
    after = stock(pipe, call)
    eager = interpolated(family.pipeline(), call, UNEVEN, config)
    assert distance(frames, eager) < TOLERANCE
    assert distance(frames, before) > 1e-3
    assert torch.equal(before, after)


@pytest.mark.parametrize("how", ["whole", "in_place", "regional"])
def test_a_second_sequence_compiles_nothing(how):
    """Other coefficients, other prompts: the graphs of the first sequence serve."""
    family = FAMILIES["sd1"]
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    pipe = compiled(family.fresh(), how, backend=count, fullgraph=True)
    config = AIDConfig(impl="sdpa")
    call = family.call(pipe, UNEVEN, steps=2)
    stock(pipe, call)
    interpolated(pipe, call, UNEVEN, config)
    seen = len(graphs)
    assert seen
    others = [0.0, 0.6, 0.65, 1.0]
    call = family.call(pipe, others, steps=2, prompts=("a tin", "the sea"))
    frames = interpolated(pipe, call, others, config)
    assert len(graphs) == seen
    assert distance(frames, interpolated(family.pipeline(), call, others, config)) < TOLERANCE


def test_chunks_of_a_compiled_denoiser():
    family = FAMILIES["sd1"]
    pipe = compiled(family.fresh(), "in_place", backend="eager", fullgraph=True)
    call = family.call(pipe, UNEVEN, steps=2)
    config = AIDConfig(impl="sdpa")
    frames = interpolated(pipe, call, UNEVEN, config, chunk=2)
    assert distance(frames, interpolated(family.pipeline(), call, UNEVEN, config)) < 1e-4


@pytest.mark.slow
def test_inductor_matches_the_oracle():
    family = FAMILIES["sd1"]
    pipe = compiled(family.fresh(), "regional", fullgraph=True)
    call = family.call(pipe, UNEVEN, steps=2)
    frames = interpolated(pipe, call, UNEVEN, AIDConfig(impl="sdpa"))
    expected = oracle_frames(family.pipeline(), call, UNEVEN, Settings(), family.negative_rows)
    assert distance(frames, expected) < TOLERANCE
