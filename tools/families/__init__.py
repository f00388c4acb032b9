"""Page of families: every pipeline class of the installed diffusers tried with `interpolate` on a tiny model.

`groups` lists the classes, `calls` writes a stock call of each, `checks` compares the frames with stock calls,
`isolated` runs each class in a process of its own, `page` writes the table of docs/families.md.
"""
