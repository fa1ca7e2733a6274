"""Diffusion models: noise schedules, denoisers, their training, and the samplers. Knows nothing of circuits.

Images are float (B, C, H, W) in [-1, 1]. Index 0 of a schedule is the cleanest step, T - 1 the noisiest.
"""
