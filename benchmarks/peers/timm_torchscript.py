"""timm's own recipe, `onnx_export.py MODEL FILE --opset 11`: torch's TorchScript exporter, then onnx's full check.

The calls are those of timm's script (exportable=True, a batch of 1, timm.utils.onnx_export), the weights random
instead of downloaded.
"""

from benchmarks.peers import timm_network


def main() -> None:
    """Export as the tool does by default."""
    options = timm_network.options(__doc__)
    model = timm_network.create(options.model, exportable=True)
    from timm.utils.onnx import onnx_export

    onnx_export(
        model, str(options.file), opset=options.opset, batch_size=1, input_size=(3, options.size, options.size)
    )


if __name__ == "__main__":
    main()
