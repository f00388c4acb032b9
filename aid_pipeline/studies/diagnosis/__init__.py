"""Diagnosis of attention: which kind carries what, the study that led to AID (arXiv 2403.17924, section 4.1).

`replacement` samples images with replaced keys and values, `study` measures them, `run` is what ``aid diagnose`` calls.
"""
