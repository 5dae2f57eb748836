"""The training engine that float training and quantization-aware training share.

The network, its parameter groups and the pixels are the caller's; the loop, the schedule, the average of
the weights, validation, interruption and resumption are here.
"""

from .compilation import why_not_compiled
from .crops import CropSource, TrainingPair
from .engine import train
from .folding import FoldedSpan
from .initialization import initialize, with_img_range
from .loss import LossWeights, training_loss
from .parallel import Processes, device_type, open_processes
from .plan import ParameterGroup, Point, TrainingPlan, TrainingResult
from .teacher import with_teacher
from .validation import total_psnr_y_db

__all__ = [
    "CropSource",
    "FoldedSpan",
    "LossWeights",
    "ParameterGroup",
    "Point",
    "Processes",
    "TrainingPair",
    "TrainingPlan",
    "TrainingResult",
    "device_type",
    "initialize",
    "open_processes",
    "total_psnr_y_db",
    "train",
    "training_loss",
    "why_not_compiled",
    "with_img_range",
    "with_teacher",
]
