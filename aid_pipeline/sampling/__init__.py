"""The stock call and its scheduler: arguments, steps and noise, what is put around it, and the frames it returns.

`denoising` samples frames by calls that `stock_arguments` checks, `stock_call` watches and `calling` makes, with images
as `frame_inputs` repeats them and clips as `clip_inputs` does; `sub_pipelines` are a prior and a decoder in one call;
`clip_decoding` decodes clips one at a time, `outputs` finds the frames in what a call returns; `scheduler_steps` counts
what a scheduler does, `scheduler_noise` draws what it adds, `step_callback` is the user's own between steps,
`inversion` finds the noise of an image that `pinned_ends` hold on to, `prompt_switch` is the baseline that changes the
prompt half way. A scheduler's or a pipeline's ways of calling belong here; how attention runs inside a denoiser call
does not. Imports `attention`, `conditioning`, `families`, `config`, `io`, `keyframes` and `errors`.
"""
