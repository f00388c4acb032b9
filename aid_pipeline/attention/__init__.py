"""Inside one denoiser call: attention interpolation on any stock denoiser, put on and taken off.

`apply` is the way in. `denoiser_hook` directs each call: `frames` and `row_matching` say which rows are which frame,
`row_checks` that rows belong together, `step_caches` what state there is between calls, `step_counter` which step it
is, `memory`, `chunking` and `batching` split the call, `image_embeds` fills in per-frame embeddings, `kv_bank` and
`endpoint_cache` keep what later chunks and calls read. `rebinding` is what the layers run: the stock processors with
other `primitives` inside (`function_copies`), or `processors` to set by hand; both read `state`, turn `masks`, count
`row_groups` and call the operator in `operator_call`. `layers` lists the layers and `report` what serves them. Knows
diffusers' modules and `aid_kernels`, no prompt and no file. Imports `families`, `config` and `errors`.
"""
