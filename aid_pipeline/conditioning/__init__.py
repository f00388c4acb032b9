"""What a stock call is given for its frames: checked prompts, their embeddings, and the noise each frame starts from.

`prompts` checks texts, `encoding` encodes them as the stock call would, `embeddings` are those of every frame,
`latents` the noise. Knows neither attention nor files. Imports `families` and `errors`.
"""
