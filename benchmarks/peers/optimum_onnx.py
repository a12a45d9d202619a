"""optimum-onnx's export of a timm model, as `optimum-cli export onnx --library timm` does it, without validation.

The command line fetches weights from a hub, so this builds the network and calls the function behind the
command. It writes into a folder; FILE becomes what it names model.onnx.
"""

import shutil
import tempfile
from pathlib import Path

from benchmarks.peers import timm_network


def main() -> None:
    """Export as the tool does by default."""
    options = timm_network.options(__doc__)
    model = timm_network.create(options.model, exportable=True)
    from optimum.exporters.onnx import onnx_export_from_model
    from optimum.exporters.tasks import TasksManager

    TasksManager.standardize_model_attributes(model, library_name="timm")
    with tempfile.TemporaryDirectory(dir=options.file.parent) as folder:
        onnx_export_from_model(
            model,
            output=folder,
            opset=options.opset,
            task="image-classification",
            do_validation=False,
            height=options.size,
            width=options.size,
        )
        shutil.move(Path(folder) / "model.onnx", options.file)


if __name__ == "__main__":
    main()
