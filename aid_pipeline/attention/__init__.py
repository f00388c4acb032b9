"""Inside one denoiser call: attention interpolation on any stock denoiser, put on and taken off.

Knows diffusers' modules and `aid_kernels`, no prompt and no file. `apply.py` is the way in; `denoiser_hook.py` directs
each call; `rebinding.py` is what the layers run. May import `families`, `config` and `errors`.
"""
