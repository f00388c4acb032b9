"""Whole denoiser steps: the models, the public code's schedule, single steps, and many users in one batch.

`unets` are the models, `public_schedule` the baseline, `steps` and `throughput` the measurements, `step_timing` their
clock, `cpu_command` what commands on a CPU share. Imports `operator` and `common`.
"""
