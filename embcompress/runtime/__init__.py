"""Speed from the zeros: compiled sparse inference. Needs no PyTorch."""
