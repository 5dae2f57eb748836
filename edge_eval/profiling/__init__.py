"""Where the time goes: per operation of a file and per layer of the network, checked against the total.

For TFLite files the times are LiteRT's own: its profiler, which asks XNNPACK for each of its kernels. The
Python package does not offer it, but the library inside has it in its C interface, see `litert_api`. For
checkpoints they are PyTorch's.
"""

from .profile import profile_latency

__all__ = ["profile_latency"]
