"""An emulator of Core ML's ML Programs, for where there is no Mac.

It emulates numbers, not hardware. Every result is stored in the type that the program declares (float16 or
float32) and computed in float32, with one rounding per operation, half to even. Quantize and dequantize
follow the formulas of MIL's operation set, with exact integers. The type and shape of every result are held
against what the program declares.

    program = load_program("span_x4.mlpackage")
    outputs = Machine(program).run({"image": frame})

What cannot be known off a Mac, and is therefore only an assumption here:

- in which order and in how many bits a device accumulates, and which operations it fuses, skipping roundings;
  what the Neural Engine does inside is not published;
- how float pixels become bytes in an image output: here they are clipped to 0..255 and rounded half to even;
  the published documents say neither;
- float16 subnormals: kept here, a device may flush them to zero.

Its time says nothing about a device. It is never a latency.
"""

from .any_size import with_any_size
from .features import Feature
from .machine import Machine
from .program import Operation, Program, load_program

__all__ = ["Feature", "Machine", "Operation", "Program", "load_program", "with_any_size"]
