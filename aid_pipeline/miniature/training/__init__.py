"""Training of the miniature from nothing: data, the loop, and a stage for each part of the model.

`stages` trains in order what `patches`, `denoiser` and `ip_adapter` define, by one `loop`, on `data`, in several
`workers`; `assemble` makes one folder of it. Development only: no other room imports it. Imports `scenes`,
`components`, `weights` and `atomic_files`.
"""
