"""`python -m benchmarks.operator_cpu`: the operator beside its rivals, on a CPU."""

from benchmarks.operator.cpu import main

if __name__ == "__main__":
    main()
