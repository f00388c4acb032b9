"""`python -m benchmarks.throughput`: many users' sequences in one batch against one after another."""

from benchmarks.denoiser.throughput import main

if __name__ == "__main__":
    main()
