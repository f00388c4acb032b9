"""What a stock call is given for its frames: checked prompts, their embeddings, and the noise each frame starts from.

May import `families`, `config` and `errors`; knows neither attention nor files.
"""
