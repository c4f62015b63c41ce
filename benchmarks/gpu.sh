#!/usr/bin/env bash
# Everything that needs a CUDA device, from source and without a network: the GPU tests, then all measurements.
# Writes benchmarks/results/DATE-GPU.json with a page beside it, or into the folder that is named; under 9 minutes.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results}
export PYTHONPATH=. PYTHONUNBUFFERED=1
gpu=$(python3 -c 'import torch; print(torch.cuda.get_device_name().split()[1].lower())') || exit 1
python3 -c 'import sys, torch; print("Python", sys.version.split()[0], "torch", torch.__version__, torch.cuda.get_device_name())'
mkdir -p "$out"
python3 -m pytest -m gpu -n 4 -q -p no:cacheprovider tests/test_gpu.py 2>&1 | tee "$out/gpu-tests.txt" | tail -25
tests=${PIPESTATUS[0]}
python3 -m benchmarks.gpu --json "$out/$(date +%F)-$gpu.json" --limit "${LIMIT:-300}" || exit 1
exit "$tests"
