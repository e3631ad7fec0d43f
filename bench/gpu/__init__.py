"""`make gpu`: what this project does on a CUDA device, checked and measured, resumable, one table of results.

See docs/gpu.md. Every part also runs on the CPU at a tiny size: ``python -m bench.gpu --device cpu --size smoke``.
"""
