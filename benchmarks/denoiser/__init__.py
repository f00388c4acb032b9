"""Whole denoiser steps: the models, the public code's schedule, single steps, and many users in one batch.

May import `operator` and `common`.
"""
