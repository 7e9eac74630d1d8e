"""Parts that the kernels of several formalisms share."""
