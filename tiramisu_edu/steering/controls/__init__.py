"""What the guides are compared with: stored images, other blends, and read-outs as the published code has them."""
