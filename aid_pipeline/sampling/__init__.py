"""The stock call: its arguments, what is put around it, and the frames it returns.

May import `attention`, `conditioning`, `families`, `config` and `errors`. A scheduler's or a pipeline's ways of calling
belong here; how attention runs inside a denoiser call does not.
"""
