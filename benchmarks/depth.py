"""Export a narrow nfnet_f0 with K times its blocks: the number of nodes grows, the bytes hardly.

    python -m benchmarks.depth K FILE

Prints the seconds of each stage, nodes and parameters as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nfexport
from nfexport.sources.timm.torchvision_operators import import_timm

SIZE = 64


def main() -> None:
    """Export the deeper network, and print its figures."""
    times, file = int(sys.argv[1]), Path(sys.argv[2])
    result = nfexport.export(register(times), file, opset=11, fold_ws=True, image_size=SIZE, verify=False)
    facts = {"seconds": dict(result.seconds), "nodes": result.facts.node_count, "bytes": result.facts.total_size}
    print(json.dumps(facts))


def register(times: int) -> str:
    """Make the network known to timm, and return its name."""
    import_timm()
    from timm.models import nfnet
    from timm.models._registry import generate_default_cfgs, register_model

    name = f"nfnet_times{times}"
    depths = tuple(times * blocks for blocks in (1, 2, 6, 3))
    config = nfnet.NfCfg(
        depths=depths,
        channels=(32, 64, 96, 96),
        stem_type="deep_quad",
        stem_chs=16,
        group_size=16,
        bottle_ratio=0.5,
        num_features=192,
        act_layer="gelu",
        attn_layer="se",
        attn_kwargs={"rd_ratio": 0.5},
    )

    def build(pretrained: bool = False, **kwargs: Any) -> Any:
        return nfnet.build_model_with_cfg(
            nfnet.NormFreeNet, name, pretrained, model_cfg=config, feature_cfg={"flatten_sequential": True}, **kwargs
        )

    build.__name__, build.__module__ = name, nfnet.__name__
    nfnet.default_cfgs.update(generate_default_cfgs({name: nfnet._dcfg(input_size=(3, SIZE, SIZE))}))
    register_model(build)
    return name


if __name__ == "__main__":
    main()
