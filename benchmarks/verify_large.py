"""What it costs to compile Inception V3 for three backends and to prove them equal.

    python benchmarks/verify_large.py [SPEC]

Wall time and memory of `netspec build --no-train` into a fresh folder: weights, sources and files of every backend,
every row and file compared, the report. Against it the time that a framework needs to build the same model and run it
once in float32 and once in float64, for as many samples, in a process of its own: the official model of
keras.applications, and for PyTorch, which brings none, the module that netspec emits. At most 1.3 times the slower,
and 6 GiB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import netspec  # noqa: E402
from netspec.codegen.source import class_name, module_name  # noqa: E402
from tests.tree import Watched, watch  # noqa: E402

ROUNDS = 3
OFFICIAL = {
    "inception-v3": "InceptionV3",
    "mobilenet-v2": "MobileNetV2",
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "xception": "Xception",
}
PROGRAMS = {
    "keras": """
import sys, keras, numpy
model, shape = sys.argv[1], tuple(map(int, sys.argv[2:]))
for precision in ("float32", "float64"):
    keras.config.set_floatx(precision)
    keras.config.set_dtype_policy(precision)
    built = getattr(keras.applications, model)(weights=None)
    built(numpy.ones(shape, precision), training=False)
""",
    "torch": """
import sys, torch
sys.path.insert(0, sys.argv[1])
kind = getattr(__import__(sys.argv[2]), sys.argv[3])
shape = tuple(map(int, sys.argv[4:]))
for precision in (torch.float32, torch.float64):
    torch.set_default_dtype(precision)
    with torch.inference_mode():
        kind().eval()(torch.ones(shape))
""",
}


def ran(*command: str) -> Watched:
    """A command's time and memory; what it says is shown if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        found = watch([sys.executable, *command], output)
    if found.status:
        raise SystemExit(found.output)
    return found


def main() -> None:
    spec = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "specs" / "inception-v3.yaml"
    network = netspec.load(spec).network
    height, width, channels = network.input_type.shape
    found: dict[str, list[Watched]] = {"netspec": [], "keras": [], "torch": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            program = "from netspec.cli import main; main()"
            found["netspec"].append(ran("-c", program, "build", str(spec), "--no-train", "-o", folder))
            made = Path(folder) / spec.stem
            samples = len(json.loads((made / "verify.json").read_text())["samples"])
            image = [str(size) for size in (samples, height, width, channels)]
            found["keras"].append(ran("-c", PROGRAMS["keras"], OFFICIAL[spec.stem], *image))
            image = [str(size) for size in (samples, channels, height, width)]
            names = module_name(network.name), class_name(network.name)
            found["torch"].append(ran("-c", PROGRAMS["torch"], str(made / "torch"), *names, *image))
    for name, runs in found.items():
        seconds, peak = median(run.elapsed_s for run in runs), max(run.peak_bytes for run in runs)
        print(f"{name:8} {seconds:6.1f} s, at most {peak / 2**30:.2f} GiB (median of {ROUNDS}, {samples} samples)")
    slowest = max(("keras", "torch"), key=lambda name: median(run.elapsed_s for run in found[name]))
    pairs = zip(found["netspec"], found[slowest], strict=True)
    ratio = median(ours.elapsed_s / theirs.elapsed_s for ours, theirs in pairs)
    print(f"netspec against {slowest}: {ratio:.2f} (at most 1.30)")


if __name__ == "__main__":
    main()
