"""timm's own recipe, `onnx_export.py MODEL FILE --dynamo`: torch's dynamo exporter with optimize, then onnx's check.

--opset is ignored: below 18 this exporter writes its own opset and fails to convert it.
"""

from benchmarks.peers import timm_network


def main() -> None:
    """Export as the tool does by default."""
    options = timm_network.options(__doc__)
    model = timm_network.create(options.model, exportable=True)
    from timm.utils.onnx import onnx_export

    onnx_export(
        model, str(options.file), opset=18, batch_size=1, input_size=(3, options.size, options.size), use_dynamo=True
    )


if __name__ == "__main__":
    main()
