"""Dtypes of a pipeline: what "auto" takes, and a denoiser in bfloat16 beside parts in float32."""
