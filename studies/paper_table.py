"""The paper's Table 1, to print beside ours for the order of the methods. Pictures, networks and LPIPS are others.

Source: Liu, Niepert, Van den Broeck, "Image Inpainting via Tractable Steering of Diffusion Models", ICLR 2024, table 1.
"""

import pandas as pd

from tiramisu_edu.lab.table import Table

METHODS = ("tiramisu", "copaint", "repaint", "ddnm", "ddrm", "dps", "resampling")
MASKS = ("left", "top", "expand1", "expand2", "vstrip", "hstrip", "wide")
AVERAGES = {  # LPIPS (AlexNet) over the seven masks, lower is better; one column per method
    "CelebA-HQ": (0.330, 0.336, 0.354, 0.435, 0.500, 0.342, 0.448),
    "ImageNet": (0.462, 0.468, 0.518, 0.617, 0.558, 0.475, 0.557),
    "LSUN-Bedroom": (0.473, 0.481, 0.509, 0.545, 0.539, 0.486, 0.540),
}


def averages() -> Table:
    """The averages over masks, the best of each data set in bold."""
    numbers = pd.DataFrame.from_dict(AVERAGES, orient="index", columns=list(METHODS))
    text = numbers.map("{:.3f}".format)
    text = text.mask(numbers.eq(numbers.min(axis=1), axis=0), "**" + text + "**")
    title = "The paper's own averages: LPIPS (AlexNet), 250 steps, 100 images a cell"
    return Table(title, text.rename_axis("data").reset_index())
