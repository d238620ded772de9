"""How fast an iteration is, against the device's own peak, plain convolutions and PyTorch.

Imports jax, flax, optax, numpy and jaxgan's core, nothing else: it runs on a bare accelerator image.
"""
