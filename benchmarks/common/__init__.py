"""What every measurement needs: machine, times, memory, ceilings, result files and the sources they speak of.

Imports no other room of `benchmarks`.
"""
