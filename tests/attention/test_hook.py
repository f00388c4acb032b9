"""Finding the frames' rows, counting steps, and the guards of a denoiser call."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from aid_kernels import InterpolationPlan
from aid_pipeline import AIDConfig, Frames, aid
from aid_pipeline.attention.operator_call import check_mask_values
from aid_pipeline.attention.row_matching import FrameFinder
from aid_pipeline.attention.step_counter import StepCounter
from aid_pipeline.errors import ConfigError, RowsError, UnsupportedAttentionError
from tests.support.families import FAMILIES
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, stock

EMBEDS = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1))


def frames(embeds=EMBEDS, **fields):
    return Frames(InterpolationPlan.sequence([0.0, 0.3, 1.0]), embeds, **{"num_steps": 4} | fields)


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("blocks", "start"),
    [
        ([OTHER, EMBEDS], 3),
        ([EMBEDS, OTHER], 0),
        ([EMBEDS], 0),
        ([OTHER], None),
        ([OTHER, EMBEDS, OTHER], 3),
        ([OTHER, OTHER], None),
    ],
    ids=["uncond-cond", "cond-uncond", "cond", "uncond", "three", "strangers"],
)
def test_rows_are_found_by_value(blocks, start):
    assert FrameFinder(frames()).find(torch.cat(blocks), first_step=True) == start


def test_rows_are_found_in_the_pipelines_dtype():
    half = torch.cat([OTHER, EMBEDS]).half()
    assert FrameFinder(frames()).find(half, first_step=True) == 3
    assert FrameFinder(frames(EMBEDS.half())).find(half, first_step=True) == 3


def test_embeddings_may_be_made_when_they_are_needed():
    finder = FrameFinder(frames(lambda: EMBEDS.clone()))
    assert finder.find(torch.cat([OTHER, EMBEDS]), first_step=True) == 3
    with pytest.raises(ConfigError, match="3 frames but prompt_embeds 2 rows"):
        frames(lambda: EMBEDS[:2])


def test_equal_prompts_are_still_frames():
    same = EMBEDS[:1].expand(3, -1, -1)
    assert FrameFinder(frames(same)).find(torch.cat([OTHER, same]), first_step=True) == 3


def test_equal_conditional_and_unconditional_embeddings():
    with pytest.raises(RowsError, match="unconditional embeddings equal"):
        FrameFinder(frames()).find(torch.cat([EMBEDS, EMBEDS]), first_step=True)
    finder = FrameFinder(frames())
    finder.find(EMBEDS.clone(), first_step=True)
    with pytest.raises(RowsError, match="two different calls"):
        finder.find(EMBEDS.clone(), first_step=True)
    finder.start_run()
    assert finder.find(EMBEDS.clone(), first_step=True) == 0


def test_known_embeddings_are_not_compared_again(monkeypatch):
    finder, both = FrameFinder(frames()), torch.cat([OTHER, EMBEDS])
    views = [both, both[:], both.view_as(both)]
    assert finder.find(both, first_step=True) == 3
    monkeypatch.setattr(torch, "equal", None)
    assert [finder.find(view, first_step=False) for view in views] == [3, 3, 3]
    monkeypatch.undo()
    both[3:] = 0  # changed in place: it is another content now
    assert finder.find(both, first_step=False) is None


def test_images_of_a_prompt_are_sequences_of_their_own():
    """Row i * 2 + k is image k of frame i, behind three unconditional rows per image."""
    plan = FrameFinder(frames(num_images_per_prompt=2)).plan(6, 12, torch.device("cpu"))
    assert plan.host_weights[:8].count_nonzero() == 0
    assert plan.host_sources[8:10].tolist() == [[6, 10], [7, 11]]
    torch.testing.assert_close(plan.host_weights[8:10], torch.tensor([[0.7, 0.3], [0.7, 0.3]]))
    assert plan.host_weights[10:].count_nonzero() == 0


# ---------------------------------------------------------------- steps


def steps_of(timesteps, num_steps=10):
    counter = StepCounter(num_steps)
    return [counter.advance(timestep) for timestep in timesteps]


def test_steps_are_counted_by_timestep():
    assert steps_of([9, 5, 1]) == [0, 1, 2]
    assert steps_of([9, 9, 5, 5, 1, 1]) == [0, 0, 1, 1, 2, 2]  # two calls a step
    assert steps_of([9, 5, 5, 1, 1]) == [0, 1, 1, 2, 2]  # Heun
    assert steps_of(torch.tensor([9.0, 5.5, 1.0])) == [0, 1, 2]
    assert steps_of([torch.tensor([9.0, 9.0]), torch.tensor([5.0, 5.0])]) == [0, 1]
    assert steps_of([9, 5, 1, 9, 5], num_steps=3) == [0, 1, 2, 0, 1]  # the same call once more
    assert steps_of([9, 5, 9, 5, 1], num_steps=3) == [0, 1, 0, 1, 2]  # broken off, then started anew


def test_timesteps_on_a_device_are_read_once():
    """A view of the scheduler's table is looked up on the host; a tensor made for the call is not in a table."""
    counter, table = StepCounter(10), torch.tensor([9.0, 5.0, 1.0])
    found = [counter._host_table(timestep)[timestep.storage_offset()] for timestep in table]
    assert found == [9.0, 5.0, 1.0]
    host = counter._table
    counter._host_table(table[1].expand(4))
    assert counter._table is host
    assert counter._host_table(torch.tensor(3.0)) is None
    again = torch.tensor([8.0, 2.0])
    assert counter._host_table(again[1])[again[1].storage_offset()] == 2.0


@pytest.mark.parametrize("steps", [28, 200])
def test_steps_whose_timesteps_round_to_one_value(steps):
    """FLUX hands bfloat16 timesteps over, of which neighbours are equal; two calls a step still count once."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    counter, sample = StepCounter(steps, scheduler), torch.zeros(1, 4)
    for _ in range(2):  # the same call once more
        scheduler.set_timesteps(steps)
        assert (len(scheduler.timesteps.bfloat16().unique()) < steps) == (steps == 200)
        for index, timestep in enumerate(scheduler.timesteps):
            passed = timestep.bfloat16() / 1000
            assert [counter.advance(passed), counter.advance(passed)] == [index, index]
            scheduler.step(sample, timestep, sample)


def test_a_loop_that_does_not_use_the_pipelines_scheduler():
    """Its timesteps count, wherever the pipeline's own scheduler was left."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(3)
    for timestep in scheduler.timesteps:
        scheduler.step(torch.zeros(1, 4), timestep, torch.zeros(1, 4))
    counter = StepCounter(3, scheduler)
    assert [counter.advance(timestep) for timestep in (9, 5, 5, 1, 9)] == [0, 1, 1, 2, 0]


def test_more_steps_than_stated():
    with pytest.raises(ConfigError, match="num_steps=2"):
        steps_of([9, 5, 1], num_steps=2)


@pytest.mark.parametrize(
    ("warmup", "steps", "active"), [(0.0, 5, 0), (0.5, 5, 2), (0.5, 7, 4), (0.3, 5, 2), (0.1, 5, 0), (1.0, 5, 5)]
)
def test_warmup_is_rounded(warmup, steps, active):
    assert AIDConfig(warmup=warmup).active_steps(steps) == active
    assert AIDConfig(mode="none", warmup=warmup).active_steps(steps) == 0


# ---------------------------------------------------------------- masks


def test_masks_of_keys_are_accepted_and_biases_are_not():
    check_mask_values("m", torch.tensor([[1, 1, 0]]))
    check_mask_values("m", torch.tensor([[True, False]]))
    check_mask_values("m", torch.tensor([[[0.0, -10000.0]]]))
    check_mask_values("m", torch.tensor([[[0.0, -torch.inf]]]))
    with pytest.raises(UnsupportedAttentionError, match=r"0\.5"):
        check_mask_values("m", torch.tensor([[1.0, 0.5]]))
    with pytest.raises(UnsupportedAttentionError, match=r"-1\.5"):
        check_mask_values("m", torch.tensor([[[0.0, -1.5]]]))
    with pytest.raises(UnsupportedAttentionError, match="every key of row 1"):
        check_mask_values("m", torch.tensor([[1, 0], [0, 0]]))


# ---------------------------------------------------------------- a whole call


@pytest.fixture(scope="module")
def pipe():
    return FAMILIES["sd1"].fresh()


@pytest.fixture(scope="module")
def call(pipe):
    return FAMILIES["sd1"].call(pipe, UNEVEN, steps=2)


def test_strange_embeddings_are_an_error_before_the_second_step(pipe, call):
    steps = []
    watched = call | {"callback_on_step_end": lambda *step: steps.append(step[1]) or {}}
    strange = call["prompt_embeds"] + 1
    with pytest.raises(RowsError, match="very prompt_embeds"):
        interpolated(pipe, watched, UNEVEN, AIDConfig(warmup=1.0), prompt_embeds=strange)
    assert steps == [0]
    with pytest.raises(RowsError, match="very prompt_embeds"):
        interpolated(pipe, call | {"num_inference_steps": 1}, UNEVEN, AIDConfig(warmup=1.0), prompt_embeds=strange)


def test_equal_negative_prompt_is_an_error_before_the_first_step(pipe, call):
    steps = []
    same = call | {
        "negative_prompt_embeds": call["prompt_embeds"],
        "callback_on_step_end": lambda *step: steps.append(step) or {},
    }
    with pytest.raises(RowsError, match="guidance_scale=1"):
        interpolated(pipe, same, UNEVEN, AIDConfig())
    assert not steps


def test_too_few_steps_stated(pipe, call):
    with pytest.raises(ConfigError, match="num_steps=1"):
        interpolated(pipe, call, UNEVEN, AIDConfig(), num_steps=1)


def test_one_handle_serves_one_call_after_another(pipe, call):
    config = AIDConfig(impl="sdpa")
    once = interpolated(pipe, call, UNEVEN, config)
    with aid(pipe, config, describe(call, UNEVEN)):
        assert torch.equal(stock(pipe, call), once)
        assert torch.equal(stock(pipe, call | {"prompt_embeds": call["prompt_embeds"].clone()}), once)


def test_nothing_is_looked_for_when_nothing_is_interpolated(pipe, call):
    with aid(pipe, AIDConfig(mode="none"), describe(call, UNEVEN, prompt_embeds=call["prompt_embeds"] + 1)):
        stock(pipe, call)


# ---------------------------------------------------------------- image embeddings


def flux_with_ip_adapter():
    """FLUX with a random IP-Adapter on its double-stream blocks; image embeddings have 12 channels."""
    pipe = FAMILIES["flux"].fresh()
    transformer, tokens, channels, size = pipe.transformer, 4, 12, pipe.transformer.config.joint_attention_dim
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    adapter = {}
    for index in range(len(transformer.transformer_blocks)):
        for name in ("to_k_ip", "to_v_ip"):
            adapter[f"{index}.{name}.weight"] = random(transformer.inner_dim, size)
            adapter[f"{index}.{name}.bias"] = random(transformer.inner_dim)
    projector = {
        "proj.weight": random(tokens * size, channels),
        "proj.bias": random(tokens * size),
        "norm.weight": torch.ones(size),
        "norm.bias": torch.zeros(size),
    }
    transformer._load_ip_adapter_weights([{"image_proj": projector, "ip_adapter": adapter}])
    return pipe


def test_an_image_per_frame_in_flux():
    """The endpoints are the stock call's of one row with that row's image; frames between depend on both images."""
    pipe = flux_with_ip_adapter()
    call = FAMILIES["flux"].call(pipe, UNEVEN, steps=2)
    images = torch.randn(len(UNEVEN), 1, 12, generator=torch.Generator().manual_seed(4))
    config = AIDConfig(impl="sdpa")
    made = interpolated(pipe, call, UNEVEN, config, image_embeds=[images])
    for row in (0, -1):
        alone = {name: value[[row]] if isinstance(value, torch.Tensor) else value for name, value in call.items()}
        image = {"ip_adapter_image_embeds": [images[[row]]], "negative_ip_adapter_image_embeds": [images[[row]]]}
        expected = stock(pipe, alone | image)
        assert distance(made[[row]], expected) < TOLERANCE
    for chunk in (1, 3):
        assert distance(interpolated(pipe, call, UNEVEN, config, image_embeds=[images], chunk=chunk), made) < 1e-4
    for row in (0, -1):
        other = images.clone()
        other[row] += 1
        changed = interpolated(pipe, call, UNEVEN, config, image_embeds=[other])
        assert distance(changed[1:-1], made[1:-1]) > 1e-3
