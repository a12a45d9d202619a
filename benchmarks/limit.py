"""The steps that every export needs: import torch and timm, build the network, one forward pass, write the weights.

    python -m benchmarks.limit MODEL FILE --size 192

Prints the seconds of each as JSON, and the bytes of the parameters, which are written to FILE.
"""

from __future__ import annotations

import json
import time

from benchmarks.peers import timm_network


def main() -> None:
    """Time the steps, and print them."""
    options = timm_network.options(__doc__)
    ends = [time.perf_counter()]
    timm_network.import_timm()
    ends.append(time.perf_counter())
    model = timm_network.create(options.model)
    ends.append(time.perf_counter())
    import torch

    with torch.inference_mode():
        model(torch.zeros(1, 3, options.size, options.size))
    ends.append(time.perf_counter())
    with options.file.open("wb") as file:
        written = sum(file.write(memoryview(p.detach().numpy()).cast("B")) for p in model.parameters())
    ends.append(time.perf_counter())
    stages = ("import", "build", "forward", "write")
    seconds = {name: round(end - start, 3) for name, start, end in zip(stages, ends[:-1], ends[1:], strict=True)}
    gains = sum(p.numel() for name, p in model.named_parameters() if name.endswith("gain"))
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"seconds": seconds, "written": written, "parameters": parameters, "gains": gains}))


if __name__ == "__main__":
    main()
