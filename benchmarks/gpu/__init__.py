"""What the project costs on a CUDA device, at real sizes: `benchmarks/gpu.sh`, or `python -m benchmarks.gpu`."""
