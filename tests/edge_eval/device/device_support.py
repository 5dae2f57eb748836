"""What benchmark_model prints, in the form of today's version, and what the fake device saw."""
# ruff: noqa: E501 - lines are as long as the tool makes them

import json
from dataclasses import dataclass
from pathlib import Path

CPU = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [4]
INFO: #threads used for CPU inference: [4]
INFO: Loaded model {graph}
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 44 out of 44 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
INFO: The input model file size (MB): 0.45
INFO: Initialized session in 15.5ms.
INFO: Running benchmark for at least 5 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478 p5=51629 median=51962 p95=87112

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=60 first=52162 curr=49785 min=49088 max=68610 avg=5.03743e+04 std=716 p5=49620 median=51891 p95=53828

INFO: Inference timings in us: Init: 15500, First inference: 87112, Warmup (avg): 58147.4, Inference (avg): 50374.3
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=5.5 overall=55.25
INFO: Overall peak memory footprint (MB) via periodic monitoring: 61.75
"""

GPU = """\
INFO: STARTING!
INFO: Use gpu: [1]
INFO: Created TensorFlow Lite delegate for GPU.
INFO: GPU delegate created.
VERBOSE: Replacing 40 out of 44 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 3 partitions for subgraph 0.
INFO: Initialized OpenCL-based API.
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 2 delegate \
kernels.
VERBOSE: Replacing 4 out of 6 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions for subgraph 0.
INFO: Initialized session in 842.225ms.
INFO: count=13 first=115098 curr=36666 min=32079 max=115098 avg=40199.8 std=21694
INFO: count=94 first=35688 curr=33419 min=30394 max=42335 avg=35134.9 std=1733
INFO: Inference timings in us: Init: 842225, First inference: 115098, Warmup (avg): 40199.8, Inference (avg): 35134.9
INFO: Memory footprint delta from the start of the tool (MB): init=5.5 overall=74.5
"""

NPU_REFUSES = """\
INFO: Use NNAPI: [1]
INFO: NNAPI accelerators available: [nnapi-reference]
INFO: Created TensorFlow Lite delegate for NNAPI.
INFO: Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.
VERBOSE: Replacing 44 out of 44 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
INFO: count=50 first=20000 curr=20000 min=20000 max=20000 avg=20000 std=0 p5=20000 median=20000 p95=20000
INFO: Inference timings in us: Init: 16000, First inference: 20000, Warmup (avg): 20000, Inference (avg): 20000
"""

NPU_FAILS = """\
INFO: Use NNAPI: [1]
ERROR: NN API returned error ANEURALNETWORKS_BAD_DATA at line 1132 while adding operation.
ERROR: Failed to apply NNAPI delegate.
"""


@dataclass(frozen=True, kw_only=True)
class FakeDevice:
    """What the fake `adb` plays, and what it saw."""

    home: Path

    def play(self, **changes: object) -> None:
        """Change the script: `devices`, `runs`, `properties`, `full`, `gone`."""
        path = self.home / "device.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def asked(self) -> list[str]:
        """The command lines so far."""
        return (self.home / "asked.txt").read_text().splitlines()

    def files(self) -> list[str]:
        """What lies on the device."""
        found: list[str] = json.loads((self.home / "files.json").read_text())
        return found
