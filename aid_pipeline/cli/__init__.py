"""The command `aid`: each command parses its options, calls one function and prints.

`app` gathers the `commands`, each a file: `interpolate`, `evaluate`, `compare`, `diagnose`, `retime`, `doctor` and
`info`. `options` turns dataclasses into commands, `spec_options` those of the specification; `run` generates one
sequence, `console` prints errors, `progress` draws the bar. None imports this room. Imports `studies` and what is below
it.
"""
