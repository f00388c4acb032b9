"""`python -m benchmarks.selection`: dynamic selection against uniform coefficients, pair by pair."""

from benchmarks.sequence.selection import main

if __name__ == "__main__":
    main()
