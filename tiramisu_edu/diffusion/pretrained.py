"""Pipelines of diffusers as the parts of a `Denoiser`: what their configs say, or why they cannot be used."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..checks import integer
from ..errors import FileError, TiramisuError
from .networks import CODERS, WEIGHTS, Autoencoder, first_line, read_json, read_network
from .schedule import Schedule

SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        *("DDPM", "DDIM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete"),
        *("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep"),
    )
)  # of networks that read a whole time 0 ... N - 1 and x_t as the forward process leaves it
NOISE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
AUTOENCODERS = ("vae", "vqvae")  # their names as parts of a pipeline


class Clip(NamedTuple):
    """The range in which clean predictions are held.

    Attributes:
        limit: of |x_0|; infinite: no limit.
        quantile: None, or q: the limit of an image is the q-quantile of its own |x_0|, between 1 and `limit`, and x_0
            is divided by it (dynamic thresholding; Saharia et al. 2022, section 2.3).
    """

    limit: float = 1.0
    quantile: float | None = None

    def __call__(self, x_0: Tensor) -> Tensor:
        if self.quantile is None:
            return x_0.clamp(-self.limit, self.limit)
        limit = x_0.abs().flatten(1).quantile(self.quantile, dim=1).clamp(1, self.limit)[:, None, None, None]
        return x_0.clamp(-limit, limit) / limit


def read_pipeline(
    source: str | Path, revision: str | None, variant: str | None, label: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pipeline of diffusers, or a `UNet2DModel` with its scheduler config: arguments and attributes of a `Denoiser`.

    A scheduler without a word on clipping leaves latents as they are; pixels lie in [-1, 1].

    Args:
        source: folder or hub name, with `unet/` and `scheduler/` inside, or with both configs at the top; with `vae/`
            or `vqvae/` the network works in latents.
        revision: commit or tag on the hub.
        variant: of the weights, such as "fp16".
        label: the class to draw.

    Raises:
        FileError: no such model, no safetensors weights, or weights that are missing or left over.
        TiramisuError: another kind of pipeline, network, scheduler, noise schedule, variance or prediction type, or a
            label that is missing or out of range.
    """
    folder = model_folder(source, revision, ["*.json"])
    if (index := folder / "model_index.json").is_file():
        _check_parts(source, read_json(index))
    inside = (folder / "unet").is_dir()
    unet, scheduler = (folder / "unet", folder / "scheduler") if inside else (folder, folder)
    coder = next((folder / name for name in AUTOENCODERS if (folder / name).is_dir()), None)
    network_config, coder_config = read_json(unet / "config.json"), read_json(coder / "config.json") if coder else None
    _check_network(source, network_config, coder_config, label)
    config = read_json(scheduler / "scheduler_config.json")
    learned_range = _check_scheduler(source, config, network_config)
    predicts = config.get("prediction_type", "epsilon") if config.get("predict_epsilon", True) else "sample"
    schedule = read_schedule(source, config | {"prediction_type": predicts})
    if not Path(source).is_dir():
        suffix = f".{variant}" if variant else ""
        model_folder(source, revision, ["*.json", f"*{WEIGHTS}{suffix}.safetensors*", f"*{WEIGHTS}{suffix}-*"])
    network = read_network(unet, "UNet2DModel", variant)
    autoencoder = (
        Autoencoder(read_network(coder, coder_config["_class_name"], variant)) if coder and coder_config else None
    )
    clip = _clip(config, latents=coder is not None)
    arguments = {"network": network, "schedule": schedule, "prediction_type": predicts, "clip": clip}
    return arguments, {"label": label, "learned_range": learned_range, "autoencoder": autoencoder}


def model_folder(source: str | Path, revision: str | None, patterns: list[str]) -> Path:
    """The folder itself, or where the files of a hub name that fit the patterns have been put."""
    if Path(source).is_dir():
        return Path(source)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(source)):
        raise FileError(f"cannot read {source}: there is no such folder")
    try:
        hub = importlib.import_module("huggingface_hub")
        return Path(hub.snapshot_download(str(source), revision=revision, allow_patterns=patterns))
    except Exception as error:
        raise FileError(
            f"cannot read {source}: there is no such folder, and the hub does not give it ({type(error).__name__}); "
            "download it where the hub can be reached, and name the folder"
        ) from None


def _check_parts(source: str | Path, parts: Mapping[str, Any]) -> None:
    """Whether a pipeline draws pictures without a condition, from its list of parts."""
    used = [name for name, part in parts.items() if isinstance(part, list) and part[0] and name[0] != "_"]
    if strange := [name for name in used if name not in ("unet", "scheduler", *AUTOENCODERS)]:
        raise TiramisuError(
            f"{source} is a {parts.get('_class_name')} with {', '.join(strange)}: only pipelines of a unet, a "
            f"scheduler and, for latents, a {' or '.join(AUTOENCODERS)} are read"
        )


def _check_network(
    source: str | Path, config: Mapping[str, Any], coder: Mapping[str, Any] | None, label: int | None
) -> None:
    if (name := config.get("_class_name", "UNet2DModel")) != "UNet2DModel":
        hint = ": Tokenizer.from_pretrained reads it" if name == "VQModel" else ""
        raise TiramisuError(f"{source} holds a {name}, expected UNet2DModel{hint}")
    channels, out = config.get("in_channels", 3), config.get("out_channels", 3)
    if coder is None and channels not in (1, 3):
        raise TiramisuError(f"the network in {source} takes {channels} channels; pixels have 1 or 3")
    if coder is not None:
        if (kind := coder.get("_class_name")) not in CODERS:
            raise TiramisuError(f"{source} has a {kind} for its latents, expected {' or '.join(CODERS)}")
        if (latents := coder.get("latent_channels")) != channels:
            raise TiramisuError(f"the network in {source} takes {channels} channels, its autoencoder gives {latents}")
    if out not in (channels, 2 * channels):
        raise TiramisuError(f"the network in {source} gives {out} channels for {channels}, expected as many or twice")
    if (kind := config.get("class_embed_type")) is not None:
        raise TiramisuError(f"the network in {source} has class_embed_type={kind!r}; only numbered classes are read")
    classes = config.get("num_class_embeds") or 0
    if classes and label is None:
        raise TiramisuError(f"the network in {source} asks for a class: give label=0 ... {classes - 1}")
    if label is not None:
        integer("label", label, 0, classes - 1)


def _check_scheduler(source: str | Path, config: Mapping[str, Any], network: Mapping[str, Any]) -> bool:
    """Whether the network's variance is a learned one between bounds."""
    if (name := config.get("_class_name", "DDPMScheduler")) not in SCHEDULERS:
        raise TiramisuError(f"{source} has a {name}, expected one of {', '.join(SCHEDULERS)}")
    twice = network.get("out_channels", 3) == 2 * network.get("in_channels", 3)
    if twice and config.get("variance_type") == "learned":
        raise TiramisuError(f"{source} has variance_type='learned', which holds for its own {name} steps alone")
    return twice and config.get("variance_type") == "learned_range"


def read_schedule(source: str | Path, config: Mapping[str, Any]) -> Schedule:
    """The training schedule that a diffusers scheduler config describes, by diffusers' own betas.

    With "rescale_betas_zero_snr" the signal falls to nothing; the last alpha_bar is held just above 0, where the
    formulas hold.

    Args:
        source: whose config it is.

    Raises:
        FileError: diffusers makes no schedule of it.
        TiramisuError: a schedule without signal for a network that predicts epsilon.
    """
    integer("num_train_timesteps", config.get("num_train_timesteps", 1), 1, 10**6)
    no_signal = config.get("rescale_betas_zero_snr")
    if no_signal and config.get("prediction_type", "epsilon") == "epsilon":
        raise TiramisuError("rescale_betas_zero_snr=True ends in pure noise, where epsilon says nothing of x_0")
    ddpm = importlib.import_module("diffusers.schedulers.scheduling_ddpm")
    try:
        beta = ddpm.DDPMScheduler(**{key: config[key] for key in NOISE if key in config}).betas.double()
    except Exception as error:
        raise FileError(f"cannot read the scheduler in {source}: {first_line(error)}") from error
    alpha_bar = torch.cumprod(1 - beta, 0)
    if no_signal:
        alpha_bar[-1] = min(2**-24, float(alpha_bar[-2]) / 2)
    return Schedule(alpha_bar, torch.arange(len(alpha_bar)))


def _clip(config: Mapping[str, Any], latents: bool) -> Clip:
    """Of clean predictions; DDPM and DDIM clip where their config does not say otherwise."""
    if config.get("thresholding"):
        return Clip(config.get("sample_max_value", 1.0), config.get("dynamic_thresholding_ratio", 0.995))
    by_default = not latents or config.get("_class_name") in ("DDPMScheduler", "DDIMScheduler")
    return Clip(config.get("clip_sample_range", 1.0) if config.get("clip_sample", by_default) else math.inf)
