"""`python -m benchmarks.denoiser`: whole denoiser steps of the miniature, on a CPU."""

from benchmarks.denoiser.steps import main

if __name__ == "__main__":
    main()
