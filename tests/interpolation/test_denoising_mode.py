"""Mode "denoising": the prompt changes during the steps."""

import torch

from aid_pipeline import AIDConfig, interpolate

from ..support.families import FAMILIES, NEGATIVE, PROMPTS
from ..support.interpolation import arguments
from ..support.running import distance

SD1 = FAMILIES["sd1"]


def test_denoising_interpolation_changes_the_prompt_during_the_steps():
    """Frame t has the first prompt for N - floor(t N) steps, then the last one, as a stock callback can do by hand."""
    pipe, steps, t = SD1.pipeline(), 5, (0.0, 0.3, 0.5, 1.0)
    wanted = arguments(SD1, output_type="latent") | {"num_inference_steps": steps}
    frames = interpolate(
        pipe, *PROMPTS, frames=4, coefficients=t, config=AIDConfig(mode="denoising"), seed=2, **wanted
    ).images
    first, last = (pipe.encode_prompt(prompt, "cpu", 1, True, NEGATIVE) for prompt in PROMPTS)
    for index, switch_at in enumerate((5, 4, 3, 0)):

        def change(pipe, step, timestep, tensors, switch_at=switch_at):
            if step + 1 >= switch_at:
                tensors["prompt_embeds"] = torch.cat([last[1], last[0]])
            return tensors

        begin = first if switch_at else last
        by_hand = pipe(
            prompt_embeds=begin[0],
            generator=torch.Generator().manual_seed(2),
            callback_on_step_end=change,
            callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
            **wanted,
        ).images
        assert distance(frames[index : index + 1], by_hand) < 1e-4
