"""What a stock call is given for its frames: checked prompts, their embeddings, and the noise each frame starts from.

`prompts` checks texts, `encoding` encodes them as the stock call would, `embeddings` are those of every frame, `replay`
has the stock call encode them itself, `latents` are the noise. Knows neither attention nor files. Imports `families`
and `errors`.
"""
