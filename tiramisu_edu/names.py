"""The names of what can be chosen. This file imports nothing, so that `--help` is there at once.

The registries that these names open stand beside what they hold: `lab.zoo`, `diffusion.samplers`, `methods`, `masks`.
A test compares them with the names here.
"""

WORLDS = ("digits", "clothes", "faces", "rooms")
FOLDER = "folder:"  # "folder:PATH": pictures of your own
WEAK = "-weak"  # "faces-weak": faces, with the denoiser that was trained for a tenth as long

SAMPLERS = (
    *("ddim", "ddpm", "replacement", "repaint", "ddrm", "ddnm", "dps", "resampling", "copaint", "copaint-tt"),
    *("daps", "diffpir", "ding", "tds"),
)
GUIDES = (
    *("none", "mixture", "difference", "difference-calibrated", "precision", "learned", "latent", "latent-published"),
    *("mixture-consistent", "difference-consistent", "difference-raw"),
    *("mixture-independent", "difference-independent", "difference-kernel", "difference-field"),
)
PAPER_MASKS = ("left", "top", "expand1", "expand2", "vstrip", "hstrip", "wide")
SCALES = ("toy", "laptop", "gpu", "paper")
