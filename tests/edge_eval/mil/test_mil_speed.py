"""How long the emulator takes beside torch's eager float32. Printed, never asserted; no device's latency."""

import statistics
import time

import pytest
import torch
from mil_networks import convert

from edge_eval.mil import Machine, load_program

ROUNDS = 15


@pytest.mark.bench
def test_ratio_to_torch_on_span_x4_at_128(shared_weights, tmp_path, capsys):
    """Interleaved, so that what else the machine does falls on both; aim: at most 2.5."""
    import coremltools as ct

    from models import load_checkpoint, reparameterize

    network = reparameterize(load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth").network)
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    machines = {}
    for precision in ("FLOAT16", "FLOAT32"):
        path = convert(
            network,
            tmp_path / f"{precision}.mlpackage",
            example=image,
            inputs=[ct.TensorType("image", shape=tuple(image.shape))],
            compute_precision=getattr(ct.precision, precision),
        )
        machines[precision] = Machine(load_program(path))
    times: dict[str, list[float]] = {"torch": [], **{name: [] for name in machines}}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for name, samples in times.items():
                start = time.perf_counter()
                if name == "torch":
                    network(image)
                else:
                    machines[name].run({"image": image})
                samples.append(time.perf_counter() - start)
    with capsys.disabled():
        for name, samples in times.items():
            median = statistics.median(samples) / statistics.median(times["torch"])
            least = min(samples) / min(times["torch"])
            best = min(samples) * 1e3
            print(f"\n{name}: best {best:.1f} ms, of torch's bests x{least:.2f}, of medians x{median:.2f}")
