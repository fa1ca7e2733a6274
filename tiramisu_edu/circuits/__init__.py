"""p(X): probabilistic circuits, exact inference and learning. Knows nothing of images, files or diffusion.

Letters fixed once: B batch, D variables, C categories, K units per region, R regions in a level.
"""
