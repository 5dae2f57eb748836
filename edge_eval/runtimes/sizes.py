"""At which size to run an image, where a Core ML file takes several sizes but not every one."""

from ..mil import Feature


def fitting_hw(feature: Feature, wanted_hw: tuple[int, int]) -> tuple[int, int]:
    """The size, among those that a file takes, at which to run an image.

    Args:
        feature: the file's image or (1, C, H, W) input.
        wanted_hw: (H, W) of the image, or of the tile that would be best.

    Returns:
        `wanted_hw` where the file takes it. Of enumerated sizes, the largest that fits inside, or the
        smallest of all if none does. Of ranges, each side brought within its bounds.
    """
    if feature.sizes:
        sizes = [(size[-2], size[-1]) for size in feature.sizes]
        inside = [hw for hw in sizes if hw[0] <= wanted_hw[0] and hw[1] <= wanted_hw[1]]
        return max(inside, key=_area) if inside else min(sizes, key=_area)
    if feature.ranges:
        height, width = (
            max(low, side if high is None else min(side, high))
            for side, (low, high) in zip(wanted_hw, feature.ranges[-2:], strict=True)
        )
        return height, width
    return feature.shape[-2], feature.shape[-1]


def _area(hw: tuple[int, int]) -> int:
    return hw[0] * hw[1]
