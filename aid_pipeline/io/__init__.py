"""Files of a sequence: the folder, the frames and moving images in it, and the provenance in ``sequence.json``.

`output_folder` claims the folder, `saving` writes into it what `encoders` make in the asked `formats`, `clips` lays out
frames that are clips, `provenance` says how the frames came to be, on which `machine`, by which `weights`;
`image_files` reads images that ends show, `end_images` names them, `file_names` tells prompts from files. Nothing here
knows how frames are generated: a function takes images and plain values. Imports `miniature`, `precision`, `errors`,
`extras` and `atomic_files`.
"""
