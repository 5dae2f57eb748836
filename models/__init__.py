"""SPAN networks: training form, folded form, the fold between them, and checkpoints."""
