"""What a stock call is given for its frames: checked prompts, their embeddings, and the noise each frame starts from.

`prompts` checks texts, `encoding` encodes them as the stock call would, `embeddings` are those of every frame, `replay`
has the stock call encode them itself, `latents` are the noise. Of an image, `image_latents` are its own, which
`inversion` leads back to noise by steps that `affine` takes apart. Knows neither attention nor files. Imports
`families` and `errors`.
"""
