"""The paper's Table 1, to print beside ours for the ordering. Its pictures, networks and LPIPS backbone are others.

The per-mask numbers are recalled from memory. The mean of each row agrees with the average that a second source
confirms, to three decimals, for all 21 rows: `tests/lab/evaluation/test_table.py` checks that.

Source: Liu, Niepert, Van den Broeck, "Image Inpainting via Tractable Steering of Diffusion Models", ICLR 2024, table 1.
"""

METHODS = ("tiramisu", "copaint", "repaint", "ddnm", "ddrm", "dps", "resampling")
MASKS = ("left", "top", "expand1", "expand2", "vstrip", "hstrip", "wide")
STEPS, IMAGES = 250, 100

# LPIPS (AlexNet), lower is better: data set -> one row per mask, one column per method.
LPIPS: dict[str, tuple[tuple[float, ...], ...]] = {
    "CelebA-HQ": (
        (0.189, 0.185, 0.195, 0.254, 0.275, 0.201, 0.257),
        (0.187, 0.182, 0.187, 0.248, 0.267, 0.187, 0.251),
        (0.454, 0.468, 0.504, 0.597, 0.682, 0.466, 0.613),
        (0.442, 0.455, 0.480, 0.585, 0.686, 0.434, 0.601),
        (0.487, 0.502, 0.517, 0.625, 0.724, 0.535, 0.647),
        (0.484, 0.488, 0.517, 0.626, 0.731, 0.492, 0.639),
        (0.069, 0.075, 0.078, 0.112, 0.132, 0.078, 0.128),
    ),
    "ImageNet": (
        (0.286, 0.289, 0.296, 0.410, 0.369, 0.327, 0.369),
        (0.308, 0.312, 0.336, 0.427, 0.373, 0.343, 0.368),
        (0.616, 0.623, 0.691, 0.786, 0.726, 0.621, 0.711),
        (0.597, 0.607, 0.692, 0.799, 0.724, 0.618, 0.721),
        (0.646, 0.654, 0.741, 0.851, 0.761, 0.637, 0.759),
        (0.657, 0.660, 0.744, 0.851, 0.753, 0.647, 0.774),
        (0.125, 0.128, 0.127, 0.198, 0.197, 0.132, 0.196),
    ),
    "LSUN-Bedroom": (
        (0.285, 0.287, 0.314, 0.345, 0.366, 0.314, 0.367),
        (0.310, 0.323, 0.347, 0.376, 0.368, 0.355, 0.372),
        (0.615, 0.637, 0.676, 0.716, 0.695, 0.641, 0.699),
        (0.635, 0.641, 0.666, 0.720, 0.691, 0.638, 0.690),
        (0.672, 0.676, 0.711, 0.760, 0.721, 0.674, 0.725),
        (0.679, 0.686, 0.722, 0.766, 0.726, 0.674, 0.724),
        (0.116, 0.115, 0.124, 0.135, 0.204, 0.108, 0.202),
    ),
}

# The averages over masks, confirmed by a second source.
AVERAGES: dict[str, tuple[float, ...]] = {
    "CelebA-HQ": (0.330, 0.336, 0.354, 0.435, 0.500, 0.342, 0.448),
    "ImageNet": (0.462, 0.468, 0.518, 0.617, 0.558, 0.475, 0.557),
    "LSUN-Bedroom": (0.473, 0.481, 0.509, 0.545, 0.539, 0.486, 0.540),
}
