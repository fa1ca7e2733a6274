"""Where the diffusion model and the circuit meet: evidence from pixels, mixtures, guides for samplers."""
