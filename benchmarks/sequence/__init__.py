"""Whole sequences on a CPU: times and memory against the public schedule, and dynamic selection pair by pair.

May import `paper` (for its pairs of prompts), `denoiser` and `common`.
"""
