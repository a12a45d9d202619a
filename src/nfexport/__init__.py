"""nfexport: from a timm name to an ONNX file that is small, fast, self-describing and verified.

    nfexport.export("nfnet_f0", opset=11, fold_ws=True)   write nfnet_f0.onnx, verified
    nfexport.verify("nfnet_f0.onnx")                      compare a file with the model that it claims to be
    nfexport.compare("theirs.onnx", "resnet18")           are these two the same function?
    nfexport.rebuild("nfnet_f0.onnx")                     build it again from the recipe inside, and compare the bytes
    nfexport.surgery("theirs.onnx", "ours.onnx", fold_ws=True)    graph passes on any ONNX file
    nfexport.evaluate("nfnet_f0.onnx", "val")             top-1 and top-5 on a folder of images
    nfexport.quantize("nfnet_l0.onnx", "int8.onnx", calibrate="photos/")    its int8 form, and what that costs
    nfexport.inspect("nfnet_f0.onnx")                     what is in a file
    nfexport.check_golden("nfnet_f0.onnx")                is it what was recorded? (without torch)
    nfexport.classify("nfnet_f0.onnx", "photos/")         what is on these images? (without torch)
    nfexport.card("nfnet_f0.onnx")                        its model card, in Markdown

The names are listed in __init__.pyi, and resolved when they are first used: importing nfexport costs nothing.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
