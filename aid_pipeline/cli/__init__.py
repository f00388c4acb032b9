"""The command `aid`: each command parses its options, calls one function and prints.

`options` turns dataclasses into commands, `console` prints errors, `progress` draws the bar; each command has a file of
its own, and `app` gathers them. May import every room of the package; none imports this one.
"""
