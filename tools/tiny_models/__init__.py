"""Tiny pipelines of every class of diffusers, with random weights, made from the classes' own signatures.

`pipelines.make` reads the annotations of a pipeline's `__init__` and makes each component: `denoisers` shrinks what the
signature of a diffusers model names (`sizes` has the numbers, and the exceptions class by class), `text` shrinks what
the configuration of a transformers model names, `tokenizers` has vocabularies of single letters. Nothing is downloaded.
"""
