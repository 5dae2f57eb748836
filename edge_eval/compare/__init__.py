"""What a user could pick instead: the same network by other tools, to be timed and judged beside ours.

Every tool gets the settings that its documentation gives first, the float network, and the same calibration
photographs that span-edge itself takes by default, never those of an evaluation.
"""

from .quality import Judge
from .rivals import RIVALS, Material, Rival, calibration_tiles, prepare

__all__ = ["RIVALS", "Judge", "Material", "Rival", "calibration_tiles", "prepare"]
