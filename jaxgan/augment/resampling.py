"""Reading one sample `[*S, C]` at other places: along each axis by a matrix, or anywhere by linear interpolation."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def grid(origin: list[float], shape: tuple[int, ...]) -> jax.Array:
    """Pixel coordinates `[rank, *shape]` relative to `origin`."""
    axes = (jnp.arange(n, dtype=jnp.float32) - start for n, start in zip(shape, origin, strict=True))
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"))


def turned_offset(angle: jax.Array, shape: tuple[int, ...], zoom: jax.Array | float = 1.0) -> jax.Array:
    """Where a rotation of the last two axes about the centre reads, as an offset in pixels `[rank, *shape]`.

    Args:
      angle: in radians.
      shape: the spatial shape.
      zoom: of all axes; above 1 what is read lies further out, so that the image shrinks.
    """
    centred = grid([(n - 1) / 2 for n in shape], shape)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    *rest, y, x = centred
    return jnp.stack([*rest, cos * y - sin * x, sin * y + cos * x]) * zoom - centred


def resample(image: jax.Array, offset: jax.Array) -> jax.Array:
    """Reads `[*S, C]` at each pixel's place plus `offset` `[rank, *S]`, linearly; outside lies the mirror image."""
    places = list(grid([0.0] * len(offset), offset.shape[1:]) + offset)

    def channel(values):
        return jax.scipy.ndimage.map_coordinates(values, places, order=1, mode="mirror")

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(image)


def mirrored(places: jax.Array, size: int) -> jax.Array:
    """Places outside `0 ... size - 1` folded back at the outermost pixels, which are not repeated."""
    last = max(size - 1, 1)
    return last - jnp.abs(places % (2 * last) - last)


def read_axes(image: jax.Array, places: list[jax.Array]) -> jax.Array:
    """Reads `[*S, C]` at `places[a]` `[S_a]` along each axis, linearly; what lies outside is 0.

    One small matrix product an axis: exact at whole places, cheap in both directions on every backend, where picking
    by index would scatter on the way back.
    """
    for axis, (where, size) in enumerate(zip(places, image.shape, strict=False)):
        weights = jnp.maximum(0.0, 1.0 - jnp.abs(where[:, None] - jnp.arange(size)[None, :])).astype(image.dtype)
        # The default product of a GPU or TPU would round the values.
        image = jnp.moveaxis(jnp.tensordot(weights, image, (1, axis), precision="highest"), 0, axis)
    return image
