"""What a stock call is given for its frames: checked prompts, their embeddings, and the noise each frame starts from.

`prompts` checks texts, `replay` has the stock call encode them itself, `mixing` makes every frame's embeddings of what
it returns, `latents` are the noise. Of an image, `image_latents` are its own, which `inversion` leads back to noise by
steps that `affine` takes apart. Knows neither attention nor files. Imports `families` and `errors`.
"""
