"""Several ways from one prompt to another, side by side: the paper's methods and baselines, from equal noise."""
