"""Factories of networks that other people wrote: each returns a torch module for `nfexport FILE.py:FACTORY`.

docs/modules.md has the command for each. Their weights are random here; pass --checkpoint FILE for your own, or load
them in the factory.
"""

from __future__ import annotations

import collections
import collections.abc

from torch import nn


def nf_resnet18(num_classes: int = 1000) -> nn.Module:
    """Return the NF-ResNet of nfnets-pytorch, whose convolutions standardise by torch.std_mean or var_mean."""
    # the package is of 2021, and takes a name from collections that Python 3.10 removed
    collections.Iterable = collections.abc.Iterable  # type: ignore[attr-defined]
    from nfnets.models import resnet

    network: nn.Module = resnet.nf_resnet18(num_classes=num_classes)
    return network


def mule() -> nn.Module:
    """Return the SF-NFNet-F0 of mule-torch: log-mel slices [batch, 1, 96, 300] to embeddings [batch, 1728]."""
    from mule_torch import SfNfNetF0

    network: nn.Module = SfNfNetF0()
    return network


def bit(num_labels: int = 10) -> nn.Module:
    """Return a small BiT of transformers, made from a configuration."""
    from transformers import BitConfig, BitForImageClassification

    config = BitConfig(
        embedding_size=32, hidden_sizes=[128, 256, 384, 512], depths=[1, 2, 2, 1], num_labels=num_labels
    )
    network: nn.Module = BitForImageClassification(config)
    return network


def dinov2() -> nn.Module:
    """Return a small DINOv2 backbone of transformers, which returns feature maps by name."""
    from transformers import Dinov2Backbone, Dinov2Config

    config = Dinov2Config(
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=112,
        patch_size=14,
        out_features=["stage2", "stage4"],
    )
    network: nn.Module = Dinov2Backbone(config)
    return network


def unet(encoder: str = "tu-nf_regnet_b0", classes: int = 3) -> nn.Module:
    """Return a U-Net of segmentation-models-pytorch with an encoder of timm that has weight standardisation."""
    import segmentation_models_pytorch as smp

    network: nn.Module = smp.Unet(encoder, encoder_weights=None, classes=classes)
    return network


def resnet18() -> nn.Module:
    """Return torchvision's ResNet-18."""
    import torchvision

    network: nn.Module = torchvision.models.resnet18(weights=None)
    return network
