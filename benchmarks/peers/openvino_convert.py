"""OpenVINO's own way: openvino.convert_model from the torch model, openvino.save_model to FILE (.xml) and .bin.

Weights stay float32, as in all other files; save_model would by default halve them. The batch is left dynamic,
the image has a fixed size. --opset means nothing here.
"""

from benchmarks.peers import timm_network


def main() -> None:
    """Export as the tool does by default."""
    options = timm_network.options(__doc__)
    model = timm_network.create(options.model)
    import openvino
    import torch

    converted = openvino.convert_model(
        model,
        example_input=torch.zeros(1, 3, options.size, options.size),
        input=[-1, 3, options.size, options.size],
    )
    openvino.save_model(converted, options.file, compress_to_fp16=False)


if __name__ == "__main__":
    main()
