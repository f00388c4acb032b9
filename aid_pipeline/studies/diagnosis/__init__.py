"""`aid diagnose`: which attention carries what, the paper's study that led to AID (arXiv 2403.17924, section 4.1)."""
