"""The `span-edge` command: one module per sub-command, and what they share.

`main` is the entry point. Importing this package is cheap: whatever needs torch or a converter is imported
by the function that uses it.
"""

from .program import main, span_edge

__all__ = ["main", "span_edge"]
