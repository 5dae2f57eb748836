"""A static cost model of converted files, and estimates from it: what no measurement here can tell.

It counts what every operation computes and moves, and divides by a device's published peaks: a roofline
(Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", 2009). What comes out is
an estimate with the model's name on it, never a latency: no kernel reaches the peaks, caches save traffic
that is counted here, and processors differ in what they fuse. It is good for ranking files on one device, as
far as `check_on_host` finds it good on this computer.
"""

from .check import HostCheck, check_on_host
from .count import count_costs
from .operation import Costs, OpCost
from .profile import Profile, known_profiles, measure_host, read_profile
from .roofline import MODEL, Estimate, estimate

__all__ = [
    "MODEL",
    "Costs",
    "Estimate",
    "HostCheck",
    "OpCost",
    "Profile",
    "check_on_host",
    "count_costs",
    "estimate",
    "known_profiles",
    "measure_host",
    "read_profile",
]
