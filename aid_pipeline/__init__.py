"""Sequences between prompts or images on stock diffusers pipelines, by attention interpolation."""
