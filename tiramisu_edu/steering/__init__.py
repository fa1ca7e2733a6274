"""The diffusion model and the circuit together, as in the paper: evidence from pixels, the mixture, latent, fusion."""
