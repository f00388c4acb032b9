"""`torch.compile` around the denoiser, whole, in place and by region: same frames, no graph break, no extra graph."""

import pytest
import torch
import torch._dynamo

from aid_pipeline import interpolate
from aid_pipeline.config import AIDConfig
from tests.support import stock_pipelines
from tests.support.families import FAMILIES, PIXELS, PROMPTS, T5_TOKENS, StockFamily
from tests.support.oracle import Settings, oracle_frames
from tests.support.running import TOLERANCE, UNEVEN, distance, interpolated, stock

# One resolution, no middle block: tracing takes time for every layer.
SMALLEST = StockFamily(
    "smallest",
    lambda: stock_pipelines.sd1(
        block_out_channels=(16,),
        down_block_types=("CrossAttnDownBlock2D",),
        mid_block_type=None,
        up_block_types=("CrossAttnUpBlock2D",),
    ),
)


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


class Graphs(list):
    """A compiler that only collects: what dynamo hands over runs as it is, and a graph break raises (fullgraph)."""

    def __call__(self, graph, inputs):
        self.append(graph)
        return graph


@pytest.mark.parametrize(
    ("family", "how", "mode"),
    [
        pytest.param(SMALLEST, "whole", "outer", marks=pytest.mark.slow),
        pytest.param(SMALLEST, "in_place", "outer", marks=pytest.mark.slow),
        (SMALLEST, "regional", "inner"),
        pytest.param(FAMILIES["flux"], "regional", "outer", marks=pytest.mark.slow),
    ],
    ids=["unet-whole", "unet-in-place", "unet-regional", "flux-regional"],
)
def test_no_graph_break_and_no_graph_for_a_second_sequence(family, how, mode):
    graphs = Graphs()
    eager, pipe = family.fresh(), compiled(family.fresh(), how, backend=graphs, fullgraph=True)
    config = AIDConfig(mode=mode, impl="sdpa")
    call = family.call(pipe, UNEVEN, steps=2)
    before = stock(pipe, call)
    frames = interpolated(pipe, call, UNEVEN, config)
    assert distance(frames, interpolated(eager, call, UNEVEN, config)) < TOLERANCE
    assert distance(frames, before) > 1e-3
    assert torch.equal(stock(pipe, call), before)
    seen = len(graphs)
    assert seen

    others = [0.0, 0.6, 0.65, 1.0]
    call = family.call(pipe, others, steps=2, prompts=("a tin", "the sea"))
    frames = interpolated(pipe, call, others, config)
    assert distance(frames, interpolated(eager, call, others, config)) < TOLERANCE
    assert len(graphs) == seen


@pytest.mark.slow
@pytest.mark.parametrize("family", [SMALLEST, FAMILIES["flux"]], ids=["unet", "flux"])
def test_a_whole_sequence_with_every_module_compiled(family):
    """What wraps a module is no container, and need not be true or false."""
    wanted = {"frames": 3, "num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "pt"}
    wanted |= {"height": PIXELS, "width": PIXELS} | ({} if family is SMALLEST else {"max_sequence_length": T5_TOKENS})
    expected = interpolate(family.fresh(), *PROMPTS, **wanted)
    pipe = compiled(family.fresh(), "whole", backend="eager")
    pipe.vae = torch.compile(pipe.vae, backend="eager")
    made = interpolate(pipe, *PROMPTS, **wanted)
    assert distance(made.images, expected.images) < TOLERANCE
    assert made.settings["model"] == expected.settings["model"]


@pytest.mark.slow
def test_chunks_of_a_compiled_denoiser():
    pipe = compiled(SMALLEST.fresh(), "regional", backend="eager", fullgraph=True)
    call = SMALLEST.call(pipe, UNEVEN, steps=2)
    config = AIDConfig(impl="sdpa")
    frames = interpolated(pipe, call, UNEVEN, config, chunk=2)
    assert distance(frames, interpolated(SMALLEST.fresh(), call, UNEVEN, config)) < 1e-4


@pytest.mark.slow
def test_inductor_matches_the_oracle():
    pipe = compiled(SMALLEST.fresh(), "regional", fullgraph=True)
    call = SMALLEST.call(pipe, UNEVEN, steps=2)
    frames = interpolated(pipe, call, UNEVEN, AIDConfig(impl="sdpa"))
    expected = oracle_frames(SMALLEST.fresh(), call, UNEVEN, Settings(), SMALLEST.negative_rows)
    assert distance(frames, expected) < TOLERANCE
