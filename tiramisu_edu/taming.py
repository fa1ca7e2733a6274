"""VQ-GAN checkpoints of taming-transformers and latent-diffusion, as weights of diffusers' VQModel.

The two libraries hold the same network under other names (Esser, Rombach, Ommer, "Taming Transformers for
High-Resolution Image Synthesis", CVPR 2021). What only its training needs, discriminator and LPIPS, is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .errors import FileError

PREFIXES = ("first_stage_model.", "model.")
RENAMED = (
    (r"nin_shortcut", "conv_shortcut"),
    (r"mid\.attn_1\.", "mid_block.attentions.0."),
    (r"mid\.block_1\.", "mid_block.resnets.0."),
    (r"mid\.block_2\.", "mid_block.resnets.1."),
    (r"(down|up)\.(\d+)\.block\.", r"\1_blocks.\2.resnets."),
    (r"(down|up)\.(\d+)\.attn\.", r"\1_blocks.\2.attentions."),
    (r"(down|up)\.(\d+)\.(down|up)sample\.", r"\1_blocks.\2.\3samplers.0."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
    (r"norm_out", "conv_norm_out"),
)
KEPT = ("encoder.", "decoder.", "quantize.embedding.", "quant_conv.", "post_quant_conv.")


def vq_model(weights: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description, as `build_network` takes it, and weights of the VQModel that a checkpoint holds.

    Raises:
        FileError: it holds no VQ-GAN with an ordinary codebook.
    """
    for prefix in PREFIXES:
        if any(name.startswith(f"{prefix}encoder.") for name in weights):
            weights = {name.removeprefix(prefix): weight for name, weight in weights.items()}
    weights = {name: weight for name, weight in weights.items() if name.startswith(KEPT)}
    needed = ("encoder.conv_in.weight", "decoder.conv_out.weight", "quantize.embedding.weight")
    if missing := [name for name in needed if name not in weights]:
        raise FileError(f"this is no VQ-GAN of taming-transformers: it has no {missing[0]}")
    levels = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.down."))
    widths = [len(weights[f"encoder.down.{level}.block.0.conv1.weight"]) for level in range(levels)]
    attends = [f"encoder.down.{level}.attn.0.q.weight" in weights for level in range(levels)]
    blocks = {name.split(".")[4] for name in weights if name.startswith("encoder.down.0.block.")}
    codes, size = weights["quantize.embedding.weight"].shape
    config = {
        "in_channels": weights["encoder.conv_in.weight"].shape[1],
        "out_channels": len(weights["decoder.conv_out.weight"]),
        "down_block_types": ["AttnDownEncoderBlock2D" if here else "DownEncoderBlock2D" for here in attends],
        "up_block_types": ["AttnUpDecoderBlock2D" if here else "UpDecoderBlock2D" for here in reversed(attends)],
        "block_out_channels": widths,
        "layers_per_block": len(blocks),
        "latent_channels": len(weights["encoder.conv_out.weight"]),
        "num_vq_embeddings": codes,
        "vq_embed_dim": size,
        "mid_block_add_attention": "encoder.mid.attn_1.q.weight" in weights,
    }
    return {"class": "VQModel", "config": config}, {
        _renamed(name, levels): _linear(name, weight) for name, weight in weights.items()
    }


def _renamed(name: str, levels: int) -> str:
    """The name in diffusers, which counts the decoder's levels from the coarsest."""
    name = re.sub(r"decoder\.up\.(\d+)", lambda found: f"decoder.up.{levels - 1 - int(found[1])}", name)
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _linear(name: str, weight: Tensor) -> Tensor:
    """A 1 x 1 convolution of an attention as the matrix that diffusers has for it."""
    return weight[:, :, 0, 0] if ".attn" in name and weight.ndim == 4 else weight
