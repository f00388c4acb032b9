"""Wrong fields of `Frames`, by name."""

import pytest
import torch

from aid_kernels import InterpolationPlan
from aid_pipeline import Frames
from aid_pipeline.errors import ConfigError

EMBEDS = torch.zeros(3, 4, 8)
PLAN = InterpolationPlan.sequence([0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"plan": None}, "plan must be an InterpolationPlan"),
        ({"prompt_embeds": EMBEDS[0]}, "3 frames but prompt_embeds 4 rows"),
        ({"prompt_embeds": EMBEDS[:2]}, "3 frames but prompt_embeds 2 rows"),
        ({"prompt_embeds": lambda: EMBEDS[:2]}, "3 frames but prompt_embeds 2 rows"),
        ({"prompt_embeds": EMBEDS + torch.inf}, "NaN or infinity"),
        ({"plan": InterpolationPlan(torch.full((3, 1), 7), torch.ones(3, 1))}, "reads frame 7 of 3"),
        (
            {"plan": InterpolationPlan(torch.tensor([[0], [0], [1]]), torch.tensor([[0.0], [1.0], [1.0]]))},
            "mixtures themselves",
        ),
        ({"num_steps": 0}, "num_steps .* got 0"),
        ({"num_steps": 2.0}, "num_steps .* got 2.0"),
        ({"num_images_per_prompt": 1.0}, "num_images_per_prompt"),
        ({"chunk": 0}, "chunk .* got 0"),
        ({"chunk": True}, "chunk .* got True"),
        ({"chunk": "all"}, "chunk .* got 'all'"),
        ({"image_embeds": [torch.zeros(2, 1, 8)]}, r"image_embeds\[0\]"),
        ({"image_embeds": [torch.zeros(3, 1, 8)], "negative_image_embeds": []}, "negative_image_embeds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_frames(fields, message):
    with pytest.raises(ConfigError, match=message):
        Frames(**{"plan": PLAN, "prompt_embeds": EMBEDS, "num_steps": 2} | fields)
