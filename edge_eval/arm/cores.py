"""The Arm cores that can be emulated, as data, and the `/proc/cpuinfo` that each of them has."""

from collections.abc import Mapping
from dataclasses import dataclass

ARM_LIMITED = 0x41
_ARMV8 = ("fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "cpuid")
_ARMV82 = (*_ARMV8, "atomics", "fphp", "asimdhp", "asimdrdm", "lrcpc", "dcpop", "asimddp")


@dataclass(frozen=True, kw_only=True)
class Core:
    """One core.

    Attributes:
        name: QEMU's name of it.
        switches: what QEMU's `-cpu` takes after the name.
        what: a few words for people: the instructions that matter to a quantized network.
        implementer: `MIDR_EL1.Implementer`, by which XNNPACK's cpuinfo library tells who made the core.
        part: `MIDR_EL1.PartNum`, by which it tells the core.
        features: names of instructions as Linux lists them.
    """

    name: str
    what: str
    implementer: int
    part: int
    features: tuple[str, ...]
    switches: str = ""

    def cpuinfo(self, count: int) -> str:
        """Linux's `/proc/cpuinfo` on a machine with `count` such cores.

        XNNPACK reads it at its start and crashes on one that tells of no Arm core.
        """
        lines = (
            "BogoMIPS\t: 108.00",
            f"Features\t: {' '.join(self.features)}",
            f"CPU implementer\t: {self.implementer:#04x}",
            "CPU architecture: 8",
            "CPU variant\t: 0x0",
            f"CPU part\t: {self.part:#05x}",
            "CPU revision\t: 0",
        )
        return "".join("\n".join((f"processor\t: {index}", *lines)) + "\n\n" for index in range(count))


CORES: Mapping[str, Core] = {
    core.name: core
    for core in (
        Core(
            name="cortex-a76",
            what="with dot product and half precision",
            implementer=ARM_LIMITED,
            part=0xD0B,
            features=_ARMV82,
        ),
        Core(
            name="cortex-a55",
            what="in order, with dot product and half precision",
            implementer=ARM_LIMITED,
            part=0xD05,
            features=_ARMV82,
        ),
        Core(
            name="cortex-a53",
            what="in order, without dot product and half precision",
            implementer=ARM_LIMITED,
            part=0xD03,
            features=_ARMV8,
        ),
        Core(
            name="max",
            what="with every instruction that QEMU knows but SME: no core that was ever made",
            implementer=0,
            part=0x051,
            features=(*_ARMV82, "sve", "sve2", "i8mm", "bf16"),
            switches=",sme=off",
        ),
    )
}
"""By QEMU's name; the first is the default. Part numbers: Arm's technical reference manuals, `MIDR_EL1`.

`max` goes without SME: with it, QEMU 7.2 and XNNPACK's SME kernels give garbage for integer files (99 % of
the pixels differ, by up to 251 levels), without it the bytes of every other core. Which of the two errs
cannot be told here.
"""

DEFAULT_CORE = next(iter(CORES))
