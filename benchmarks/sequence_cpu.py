"""`python -m benchmarks.sequence_cpu`: whole sequences against the public code's schedule, on a CPU."""

from benchmarks.sequence.cpu import main

if __name__ == "__main__":
    main()
