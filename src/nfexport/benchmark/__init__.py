"""Latency of files on this machine: each in each runtime, in a process of its own, with interleaved inferences.

nfexport.benchmark.measurement has bench(); it needs neither torch nor a recipe in the files.
"""
