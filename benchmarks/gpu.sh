#!/usr/bin/env bash
# Everything that needs a CUDA device, from source and without a network: the GPU tests, then all measurements.
# Writes benchmarks/results/DATE-GPU.json with a page beside it, or into the folder that is named; under 9 minutes in
# all. The files are up to date after every part; called again with the same folder it goes on where it stopped.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-benchmarks/results} seconds=${SECONDS_IN_ALL:-520} python=${PYTHON:-python3}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
gpu=$("$python" -c '
import re, torch
name = torch.cuda.get_device_name()
found = re.search(r"[A-Z]+\d+[A-Z]*", name.upper())
print(found[0].lower() if found else re.sub(r"\W+", "-", name.lower()))') || exit 1
"$python" -m benchmarks.gpu.has
mkdir -p "$out"
# Importing torch may warn of pynvml where there is a GPU; a warning is an error, and that one would end all tests.
options=(-m gpu -q -p no:cacheprovider -W "ignore:The pynvml package:FutureWarning")
"$python" -c 'import xdist' 2>/dev/null && options+=(-n 8)
timeout --kill-after=10 150 "$python" -m pytest "${options[@]}" tests/test_gpu.py > "$out/gpu-tests.txt" 2>&1
tests=$?
tail -25 "$out/gpu-tests.txt"
"$python" -m benchmarks.gpu --json "$out/$(date +%F)-$gpu.json" --limit "$((seconds - SECONDS))" || exit 1
exit "$tests"
