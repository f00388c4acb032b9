"""Diagnosis of attention: which kind carries what, the study that led to AID (arXiv 2403.17924, section 4.1).

`replacement.py` samples images with replaced keys and values, `study.py` measures them, `run.py` is what `aid diagnose`
calls.
"""
