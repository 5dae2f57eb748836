"""Costs against a hand count and against what torch counts."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from models import SpanConfig, SpanDeploy, count_macs, count_parameters, layer_costs


def test_official_x4_by_hand() -> None:
    spabs = 18 * 48 * 48 * 9
    by_hand = 3 * 48 * 9 + spabs + 48 * 48 * 9 + 192 * 48 + 48 * 48 * 9
    assert count_macs(SpanConfig()) == by_hand == 425_232
    assert count_parameters(SpanConfig()) == by_hand + (1 + 18 + 1 + 1 + 1) * 48


def test_macs_are_half_of_what_torch_counts_in_flops(config: SpanConfig) -> None:
    deploy = SpanDeploy(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        deploy(torch.rand(1, 3, 6, 7))
    assert count_macs(deploy) * 6 * 7 * 2 == counter.get_total_flops()
    assert count_parameters(deploy) == sum(p.numel() for p in deploy.parameters())


def test_config_and_network_cost_the_same(config: SpanConfig) -> None:
    assert layer_costs(config) == layer_costs(SpanDeploy(config))


def test_layer_table() -> None:
    first = layer_costs(SpanConfig())[0]
    assert (first.name, first.kernel, first.in_channels, first.out_channels) == ("conv_1", (3, 3), 3, 48)
    assert (first.groups, first.macs, first.parameters) == (1, 1296, 1344)
    near = layer_costs(SpanConfig(network="spanf", feature_channels=32, concat_channels=32))[0]
    assert (near.name, near.groups, near.macs, near.parameters) == ("conv_near", 3, 432, 432)
