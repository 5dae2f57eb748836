"""The command group, its help, and the process's entry point."""

from importlib import metadata

import click

from . import (
    bench,
    convert,
    estimate,
    evaluate,
    inspect,
    models,
    prepare_aarch64,
    quantize,
    report,
    run,
    train,
    upscale,
)
from .outcome import Program, stop_on_signals

EPILOG = """\b
Start here:
  span-edge run                                      everything, with a network that comes along, into out/
  span-edge run spanx4_ch48.pth                      the same with yours
  span-edge run spanx4_ch48.pth --data Set5 --max-drop 0.1
  span-edge quantize spanx4_ch48.pth --effort best -o span_w8a8.safetensors
  span-edge upscale photo.jpg --model out/spanx4_ch48_fp16.tflite -o big/

\b
Exit codes:
  0    done
  1    a quality gate failed, or an artifact could not be made
  2    bad input or usage: one line on stderr says what to do
  130  interrupted; no file is left half-written

\b
Results go to the folder or file that -o, --out or --json names (- is standard output); existing
files are refused without --overwrite. SPAN_EDGE_VERBOSE=1 shows what TensorFlow, coremltools and
the other tools print. Only prepare-aarch64 uses the network.
"""

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=Program, epilog=EPILOG, context_settings=SETTINGS)
@click.version_option(metadata.version("span-edge"), prog_name="span-edge")
def span_edge() -> None:
    """SPAN super-resolution to phones: fold, convert to TFLite and Core ML, and measure what it costs.

    Needs no phone, no Mac and no account: Core ML files run here in an emulator of their arithmetic.
    """


COMMANDS = (
    run.run,
    models.list_models,
    inspect.inspect,
    quantize.quantize,
    convert.convert,
    evaluate.evaluate,
    bench.bench,
    estimate.estimate,
    upscale.upscale,
    train.train,
    report.report,
    prepare_aarch64.prepare_aarch64,
)
for _command in COMMANDS:
    span_edge.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    stop_on_signals()
    span_edge.main(prog_name="span-edge")
