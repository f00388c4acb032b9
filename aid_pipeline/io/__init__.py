"""Files of a sequence: the folder, the frames and moving images in it, and the provenance in `sequence.json`.

Nothing here knows how frames are generated: a function takes images and plain values. May import `config`, `models`,
`miniature` and `errors`.
"""
