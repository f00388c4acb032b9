"""The command `aid`: each command parses its options, calls one function and prints.

`app` gathers the `commands`, each a file: `interpolate`, `evaluate`, `compare`, `diagnose`, `retime`, `doctor` and
`info`. `options` turns dataclasses into commands, `spec_options` those of the specification; `run` generates one
sequence, `console` prints errors, `progress` draws the bar. A new option is a field with a help text:
in `spec` if it is an argument of a sequence, else in its command's file. None imports this room. Imports `studies` and
what is below it.
"""
