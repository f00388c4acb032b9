"""IP-Adapter embeddings of every frame, in the rows of a denoiser call."""

import pytest
import torch

from aid_pipeline import AIDConfig, apply_aid
from aid_pipeline.errors import UnsupportedPipelineError
from tests.support.families import FAMILIES
from tests.support.running import TOLERANCE, UNEVEN, describe, distance, interpolated, stock
from tests.support.variations import with_ip_adapter


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


def sequential_offload(pipe):
    from accelerate import cpu_offload

    cpu_offload(pipe.unet, torch.device("cpu"))


def offloaded_in_groups(pipe):
    pipe.unet.enable_group_offload(torch.device("cpu"), torch.device("cpu"), offload_type="leaf_level")


@pytest.mark.parametrize("elsewhere", [sequential_offload, offloaded_in_groups])
def test_weights_that_are_elsewhere_between_calls(elsewhere):
    """Images go to the call's device and dtype, not to those of weights at rest."""
    family = FAMILIES["sd1"]
    images = [torch.randn(len(UNEVEN), 1, 24, generator=torch.Generator().manual_seed(4))]
    made = []
    for change in (lambda pipe: None, elsewhere):
        pipe = with_ip_adapter(family.fresh())
        change(pipe)
        call = family.call(pipe, UNEVEN, steps=2)
        made.append(interpolated(pipe, call, UNEVEN, AIDConfig(impl="sdpa"), image_embeds=images))
    assert torch.isfinite(made[1]).all()
    assert distance(made[1], made[0]) < 1e-5


def test_a_denoiser_that_takes_no_image_embeddings():
    family = FAMILIES["pixart_sigma"]
    pipe = family.pipeline()
    frames = describe(family.call(pipe, UNEVEN), UNEVEN, image_embeds=[torch.zeros(len(UNEVEN), 1, 12)])
    with pytest.raises(UnsupportedPipelineError, match="image embeddings"):
        apply_aid(pipe, AIDConfig(), frames)
    assert not pipe.transformer._forward_pre_hooks
