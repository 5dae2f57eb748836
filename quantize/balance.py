"""Factors and mixtures of channels that make a tensor's one scale fit all its channels; exact in float.

An integer kernel has one scale per activation tensor, so a channel that is a hundred times smaller than the
largest one has a hundred times fewer levels. Where only linear operations touch a tensor, its channels may
be rescaled or mixed, and the next convolution takes it back.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .graph import IMAGE, SpanNodes
from .quantized import QParams
from .ranges import Sample, channel_ranges, observe
from .rewrite import MASK, MASKS, OUTPUT_MASK
from .rounding import LIMIT

COLOURS_SHARE = 0.05
"""What pure colours count beside photographs where channels are mixed."""

COLOURS_SIDE = 24
"""Of the areas of pure colours that are looked at, in LR pixels."""

NORMS = (8.0, 32.0, 128.0)
"""The p-norms that stand for a maximum, one after the other."""

WEIGHTS_LEFT = 0.12
"""What compensation leaves of the error that rounding weights to the nearest would make."""

FAINT = 1e-9
"""Added where a logarithm is taken of what may be zero."""


@torch.no_grad()
def scale_channels(network: SpanNodes, group: Sequence[str], factor: Tensor) -> None:
    """Multiply a group's tensors by a factor per channel, in place; the network's output stays.

    Args:
        network: its convolutions are changed.
        group: a row of `network.scaled`.
        factor: (C,), positive.
    """
    factor = factor.double()
    for node in network.nodes:
        if node.op != "conv2d":
            continue
        conv = network.conv(node.name)
        assert conv.bias is not None
        weight, bias = conv.weight.double(), conv.bias.double()
        for source, at in network.parts(node.inputs[0]).items():
            if source in group and conv.groups > 1:
                weight = weight / factor.view(-1, 1, 1, 1)
            elif source in group:
                weight[:, at] /= factor.view(1, -1, 1, 1)
        if node.name in group:
            weight, bias = weight * factor.view(-1, 1, 1, 1), bias * factor
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)


def mix_channels(network: SpanNodes, names: Sequence[str], matrix: Tensor) -> None:
    """Multiply the channels of some tensors by a matrix, in place; the network's output stays.

    Args:
        network: its convolutions are changed.
        names: outputs of convolutions and their sums, read by convolutions alone; such as `network.mixed`.
        matrix: (C, C), float64.
    """
    inverse = torch.linalg.inv(matrix.double())
    for node in network.nodes:
        if node.op != "conv2d":
            continue
        conv = network.conv(node.name)
        assert conv.bias is not None
        if node.name in names:
            conv.weight.copy_(torch.einsum("om,miuv->oiuv", matrix, conv.weight.double()))
            conv.bias.copy_(matrix @ conv.bias.double())
        for source, at in network.parts(node.inputs[0]).items():
            if source in names:
                taken = conv.weight[:, at].double()
                conv.weight[:, at] = torch.einsum("omuv,mi->oiuv", taken, inverse)


def spreading_matrix(moments: Tensor, gain: Tensor) -> Tensor:
    """The mixture under which equal noise in every channel does least harm after a linear layer.

    Of all matrices M that give each channel of M p unit power, it minimizes the power of the layer's response
    to white noise, tr(gain M^-1 M^-T). With B = gain^1/2 moments^1/2 = P S V^T the optimum, up to scale, is
    H S^-1/2 P^T gain^1/2 for any orthogonal H that gives all channels the same power: a strong component is
    spread over all channels, and its rounding errors average out. Of those, H begins with a random rotation:
    equal power is not equal range, and sums of many independent components have the shortest tails.

    Args:
        moments: (C, C), E[p p^T], not centred, since a mean needs range too.
        gain: (C, C), the layer's kernel as a Gram matrix over its outputs and taps.

    Returns:
        (C, C), float64.
    """
    channels = moments.shape[0]
    turn = _random_rotation(channels)
    root_gain, root_moments = _root(gain), _root(moments)
    left, power, _ = torch.linalg.svd(root_gain @ root_moments)
    power = power.clamp(min=power[0] * 1e-5)
    even = equal_diagonal(turn @ torch.diag(power) @ turn.T) @ turn
    mixture: Tensor = even @ torch.diag(power.rsqrt()) @ left.T @ root_gain
    mixture /= (power.sum() / channels).sqrt()
    return mixture


def equal_diagonal(matrix: Tensor) -> Tensor:
    """An orthogonal H that makes the diagonal of H matrix H^T constant (Schur-Horn, by rotations).

    Args:
        matrix: (C, C), symmetric, float64.
    """
    current, turned = matrix.clone(), torch.eye(len(matrix), dtype=matrix.dtype)
    mean = matrix.diagonal().mean()
    for _ in range(len(matrix) - 1):
        diagonal = current.diagonal()
        i, j = int(diagonal.argmin()), int(diagonal.argmax())
        low, high, cross = diagonal[i] - mean, diagonal[j] - mean, current[i, j]
        if high - low <= 1e-12 * mean.abs():
            break
        # tan of the angle that brings entry i to the mean: low + 2 t cross + t^2 high = 0
        tangent = (-cross - (cross**2 - low * high).clamp(min=0).sqrt()) / high
        cosine = 1 / (1 + tangent**2).sqrt()
        turn = torch.eye(len(matrix), dtype=matrix.dtype)
        turn[i, i] = turn[j, j] = cosine
        turn[i, j], turn[j, i] = tangent * cosine, -tangent * cosine
        current, turned = turn @ current @ turn.T, turn @ turned
    return turned


def _random_rotation(channels: int) -> Tensor:
    """An orthogonal matrix, always the same for a number of channels, (C, C), float64."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    rotation: Tensor = torch.linalg.qr(drawn)[0]
    return rotation


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive matrix, kept invertible."""
    values, vectors = torch.linalg.eigh(matrix.double())
    root: Tensor = vectors @ torch.diag(values.clamp(min=values[-1] * 1e-10).sqrt()) @ vectors.T
    return root


def balance(network: SpanNodes, lr_nchw: Tensor, *, activation_bits: int | None = 8) -> None:
    """Choose every factor and mixture of channels that `network` allows, in place, from a batch.

    Args:
        network: as `rewrite` made it; its output stays the same.
        lr_nchw: (N, C, H, W) in [0, 1].
        activation_bits: of the integers that its tensors become; None where they become none.
    """
    for group in network.scaled:
        samples = observe(network, lr_nchw, probes=1)
        tensors = [samples[name] for name in group] if activation_bits == 8 else []
        factors = least_noise_factors(tensors, _readers(network, group, samples))
        scale_channels(network, group, factors)
    if network.mixed and OUTPUT_MASK in network.tensors():
        lean_on_image(network, _share_of_image(network, lr_nchw))
    if network.mixed:
        _mix(network, lr_nchw)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A convolution that reads C channels and whose weights are rounded, at one scale per output channel.

    Attributes:
        largest: (O, C), the largest weight of each pair of channels.
        others: (O,), of its other inputs.
        power: (C,), mean squares of the inputs.
        cost: (O,), the squared output error that a squared error of one weight causes at inputs of power one.
    """

    largest: Tensor
    others: Tensor
    power: Tensor
    cost: Tensor


def _readers(network: SpanNodes, group: Sequence[str], samples: Mapping[str, Sample]) -> list[Reader]:
    """The convolutions of many channels that read a tensor of a group."""
    found = []
    for name in network.conv_names():
        conv, source = network.conv(name), network.input_of(name)
        for part, at in network.parts(source).items():
            if part in group and conv.groups == 1:
                largest = conv.weight.double().abs().amax((2, 3))
                others = torch.cat([largest[:, : at.start], largest[:, at.stop :]], dim=1)
                found.append(
                    Reader(
                        largest=largest[:, at],
                        others=others.amax(1) if others.shape[1] else torch.zeros(len(largest)).double(),
                        power=samples[part].values.double().square().mean((0, 2, 3)),
                        cost=samples[name].weights.double().sum((0, 2, 3)) * conv.weight[0, 0].numel(),
                    )
                )
    return found


@torch.no_grad()
def lean_on_image(network: SpanNodes, share: Tensor) -> None:
    """Let a part of `network.mixed` pass by, in place; the network's output stays.

    That part is a linear function of a pixel's channels and of one. It is taken from the sum where the image
    enters, and given by the last convolution, which reads the image as well.

    Args:
        network: with `OUTPUT_MASK`.
        share: (C, I + 1), what of the sum's C channels comes from the image's I and from one.
    """
    share = share.double()
    for name in network.conv_names():
        conv, parts = network.conv(name), network.parts(network.input_of(name))
        assert conv.bias is not None
        if OUTPUT_MASK in parts:
            reads = conv.weight[:, parts[network.mixed[-1]]].double()
            conv.weight[:, parts[OUTPUT_MASK]] += torch.einsum("ocuv,ci->oiuv", reads, share).float()
        elif name in network.mixed and (at := parts.get(MASK, parts.get(IMAGE))):
            middle, channels = conv.kernel_size[0] // 2, network.config.in_channels
            conv.weight[:, at, middle, middle][:, :channels] -= share[:, :-1]
            conv.bias -= share[:, -1]


@torch.no_grad()
def _share_of_image(network: SpanNodes, lr_nchw: Tensor) -> Tensor:
    """What of the sum of `network.mixed` a pixel's channels and one tell, by least squares."""
    mixed, image = _seen(network, (network.mixed[-1], OUTPUT_MASK), lr_nchw)
    share: Tensor = torch.linalg.solve(image @ image.T, image @ mixed.T).T
    return share


@torch.no_grad()
def _mix(network: SpanNodes, lr_nchw: Tensor) -> None:
    """Spread strong components of `network.mixed` over all channels."""
    mixed = network.mixed[-1]
    (seen,) = _seen(network, (mixed,), lr_nchw)
    (kernel,) = (
        network.conv(name).weight[:, at].double()
        for name in network.conv_names()
        if (at := network.parts(network.input_of(name)).get(mixed))
    )
    matrix = spreading_matrix(seen @ seen.T, torch.einsum("ocuv,oduv->cd", kernel, kernel))
    mix_channels(network, network.mixed, matrix)


def _seen(network: SpanNodes, names: Sequence[str], lr_nchw: Tensor) -> list[Tensor]:
    """Tensors as (C, pixels), float64, of which products are means over pixels.

    Photographs hold little of pure colours. From them alone, what little there is would be made much of, and
    a red flower clipped to another red; so areas of pure colours count too, as `COLOURS_SHARE`.
    """
    inside = slice(COLOURS_SIDE // 3, 2 * COLOURS_SIDE // 3)
    photographs = _features(network, names, lr_nchw)
    pure = [one[..., inside, inside] for one in _features(network, names, pure_colours(lr_nchw.shape[1]))]
    found = []
    for both in zip(photographs, pure, strict=True):
        rows = [one.double().transpose(0, 1).flatten(1) for one in both]
        shares = (1 - COLOURS_SHARE, COLOURS_SHARE)
        found.append(
            torch.cat(
                [row * (share / row.shape[1]) ** 0.5 for row, share in zip(rows, shares, strict=True)], dim=1
            )
        )
    return found


def pure_colours(channels: int) -> Tensor:
    """Areas of one colour each, all whose channels are 0 or 1: (2**C, C, COLOURS_SIDE, COLOURS_SIDE)."""
    colours = torch.tensor(list(itertools.product((0.0, 1.0), repeat=channels)))
    return colours[:, :, None, None].repeat(1, 1, COLOURS_SIDE, COLOURS_SIDE)


def _features(network: SpanNodes, names: Sequence[str], lr_nchw: Tensor) -> list[Tensor]:
    kept: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        if name in names:
            kept[name] = value
        return value

    network.run(lr_nchw, tensor=keep)
    return [kept[name] for name in names]


def least_noise_factors(samples: Sequence[Sample], readers: Sequence[Reader] = ()) -> Tensor:
    """The factors per channel, the same for some tensors, under which rounding does least harm.

    A tensor whose channels reach from -l_c to h_c and are multiplied by f_c is stored in steps of
    s = (max f_c l_c + max f_c h_c) / 255. The readers divide by f_c, so that rounding costs
    s^2 / 12 sum W_c / f_c^2, with W_c what a squared error of the channel costs in all. A reader's weights
    w_oc / f_c are stored in steps of t_o = max w_oc / f_c / 127, which cost t_o^2 / 12 sum P_c f_c^2, with
    P_c the power of the channel, times what an error of that output costs and `WEIGHTS_LEFT`. The sum of all
    that is minimized. Each maximum is taken as a p-norm, whose p grows.

    Args:
        samples: of the tensors, where they are rounded.
        readers: of the tensors.

    Returns:
        (C,), positive; their geometric mean is 1. Ones where no rounding reaches the output.
    """
    reach = [channel_ranges(sample).double() for sample in samples]
    weight = [sample.weights.double().sum((0, 2, 3)) for sample in samples]
    seen = [-one.sum(0).log() for one in reach] or [-0.5 * (one.power + FAINT).log() for one in readers]
    log_factor = torch.stack(seen).mean(0).requires_grad_()

    def cost(norm: float) -> Tensor:
        squares = (2 * log_factor).exp()
        parts = []
        for sides, costs in zip(reach, weight, strict=True):
            step = (((sides.log() + log_factor) * norm).logsumexp(1) / norm).exp().sum() / 255
            parts.append(step.square() * (costs / squares).sum())
        for reader in readers:
            largest = torch.cat(
                [(reader.largest + FAINT).log() - log_factor, (reader.others + FAINT).log()[:, None]], 1
            )
            step = ((largest * norm).logsumexp(1) / norm).exp() / LIMIT
            parts.append(WEIGHTS_LEFT * (step.square() * reader.cost).sum() * (reader.power * squares).sum())
        return torch.stack(parts).sum().log()

    if not cost(NORMS[0]).isfinite():
        return torch.ones_like(log_factor).detach().float()
    with torch.enable_grad():
        for norm in NORMS:
            search = torch.optim.LBFGS([log_factor], max_iter=100, line_search_fn="strong_wolfe")

            def closure(search: torch.optim.LBFGS = search, norm: float = norm) -> Tensor:
                search.zero_grad()
                found = cost(norm)
                found.backward()  # type: ignore[no-untyped-call]
                return found

            search.step(closure)  # type: ignore[no-untyped-call]
    found = log_factor.detach()
    return (found - found.mean()).exp().float()


@torch.no_grad()
def place_image(
    network: SpanNodes, observed: Sequence[dict[str, Sample]], activations: Mapping[str, QParams]
) -> None:
    """Give the image that is joined with other channels their scale and zero point, in place.

    A `concat` has one scale. A pixel of k / 255 gets the 8-bit integer k - 128 at any scale and zero point:
    what that stands for is a linear function of the pixel and of one, and the channel of ones takes its shift
    back, at the border too.

    Args:
        network: its convolutions are changed; its output stays.
        observed: of its tensors, some times; the values of the image, and of what it is joined with, are
            changed likewise.
        activations: of int8; the image's are those of the `concat`.
    """
    placed = [(name, mask) for name, sources in network.joined().items() for mask in MASKS if mask in sources]
    for name, mask in placed:
        low, high = activations[mask].low, activations[mask].high
        matrix = torch.eye(network.config.in_channels + 1, dtype=torch.float64) * (high - low)
        matrix[:, -1] = low
        matrix[-1, -1] = max(low, high, key=abs)
        mix_channels(network, (mask,), matrix)
        at = network.parts(name)[mask]
        for samples, (tensor, places) in itertools.product(observed, ((mask, slice(None)), (name, at))):
            values = samples[tensor].values.clone()
            values[:, places] = torch.einsum("oc,nchw->nohw", matrix.float(), values[:, places])
            samples[tensor] = replace(samples[tensor], values=values)
