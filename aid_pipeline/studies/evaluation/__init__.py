"""`aid evaluate`: the measures of a folder of sequences, or of sequences made for a list of prompts, as a report."""
