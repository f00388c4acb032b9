"""From committed results to text and plots; `python -m benchmarks.report` puts them where they belong."""
