"""Which schedulers' steps can be inverted, and the reason where not."""

import diffusers
import pytest
import torch

from aid_pipeline.conditioning.affine import affine_steps
from aid_pipeline.errors import InversionError

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CLIPS = "clips or thresholds"
NOISE = "adds noise"
HISTORY = "history"

ACCEPTED = {
    "DDIM, noise": ("DDIMScheduler", {"clip_sample": False}),
    "DDIM, v": ("DDIMScheduler", {"clip_sample": False, "prediction_type": "v_prediction"}),
    "DDIM, zero SNR": (
        "DDIMScheduler",
        {"clip_sample": False, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
        | {"timestep_spacing": "trailing"},
    ),
    "Euler, noise": ("EulerDiscreteScheduler", {}),
    "Euler, v": ("EulerDiscreteScheduler", {"prediction_type": "v_prediction"}),
    "Euler, Karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "DPM++, first order": ("DPMSolverMultistepScheduler", {"solver_order": 1}),
    "flow Euler": ("FlowMatchEulerDiscreteScheduler", None),
}
REFUSED = {
    "DDIM, clipped": ("DDIMScheduler", {"clip_sample": True}, CLIPS),
    "DDIM, thresholds": ("DDIMScheduler", {"clip_sample": False, "thresholding": True}, CLIPS),
    "Euler ancestral": ("EulerAncestralDiscreteScheduler", {}, NOISE),
    "LCM": ("LCMScheduler", {"clip_sample": False}, NOISE),
    "DDPM": ("DDPMScheduler", {"clip_sample": False}, NOISE),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}, HISTORY),
    "DPM++ 2M, SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, NOISE),
    "UniPC": ("UniPCMultistepScheduler", {}, HISTORY),
    "DEIS": ("DEISMultistepScheduler", {}, HISTORY),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True}, HISTORY),
    "LMS": ("LMSDiscreteScheduler", {}, HISTORY),
    "Heun": ("HeunDiscreteScheduler", {}, HISTORY),
    "flow Heun": ("FlowMatchHeunDiscreteScheduler", None, HISTORY),
    "flow Euler, stochastic": ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, NOISE),
}


def scheduler(name, options, steps=7):
    betas = {} if name.startswith("FlowMatch") else BETAS
    made = getattr(diffusers, name)(**betas, **(options or {}))
    made.set_timesteps(steps)
    return made


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_and_right(case):
    made = scheduler(*ACCEPTED[case])
    steps = affine_steps(made)
    assert [float(step.timestep) for step in steps] == [float(t) for t in made.timesteps]
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    for step in steps:  # the scheduler itself, all steps in one go
        v = torch.sin(5 * x)
        made.scale_model_input(x, step.timestep) if hasattr(made, "scale_model_input") else None
        expected = made.step(v, step.timestep, x, return_dict=False)[0]
        torch.testing.assert_close(step.of_sample * x + step.of_output * v, expected, rtol=1e-4, atol=1e-4)
        x = expected


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case):
    name, options, reason = REFUSED[case]
    with pytest.raises(InversionError, match=reason) as raised:
        affine_steps(scheduler(name, options))
    assert name in str(raised.value)


def test_the_scheduler_and_the_random_numbers_stay_as_they_are():
    made = scheduler("LCMScheduler", {"clip_sample": False})
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    with pytest.raises(InversionError):
        affine_steps(made)
    torch.testing.assert_close(torch.randn(3), expected, rtol=0, atol=0)
    assert made.step_index is None
