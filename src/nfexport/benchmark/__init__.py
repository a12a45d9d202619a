"""How fast files run here: each in each runtime, in a process of its own, their inferences interleaved.

Import nfexport.benchmark.measurement for bench(); it needs neither torch nor a recipe in the files.
"""
