"""Augmentation as a PyTorch user would write it: whole batches, uniform numbers in, differentiable twice.

What `color`, `translation` and `cutout` do is DiffAugment's, the rest is ADA's; shifts and scalings read along one axis
after another by small matrices, since PyTorch's `grid_sample` has no second derivative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# The operations that are written here, and how many uniform numbers each takes for a sample of so many spatial axes.
OPERATIONS = {
    "flip": lambda rank: 1 + (rank if rank == 3 else 1),
    "shift": lambda rank: 1 + rank,
    "scale": lambda rank: 2,
    "anisotropy": lambda rank: 2,
    "fraction": lambda rank: 1 + rank,
    "brightness": lambda rank: 2,
    "contrast": lambda rank: 2,
    "saturation": lambda rank: 2,
    "color": lambda rank: 6,
    "translation": lambda rank: 1 + rank,
    "cutout": lambda rank: 1 + rank,
}
_ALONG_AXES = {"flip", "shift", "scale", "anisotropy", "fraction"}


def draw(policy: Sequence[str], count: int, rank: int, device: torch.device) -> dict[str, Tensor]:
    """Uniform numbers `[count, k]` of each operation: first whether it happens, then what."""
    counts = [OPERATIONS[name](rank) for name in policy]
    return dict(zip(policy, torch.rand(count, sum(counts), device=device).split(counts, 1), strict=True))


def augment(numbers: dict[str, Tensor], probability: float, x: Tensor) -> Tensor:
    """The operations that `numbers` names, each for each sample with that probability; `x` `[N, C, *S]`."""
    happens = {name: values[:, : 3 if name == "color" else 1] < probability for name, values in numbers.items()}
    values = {name: values[:, 3 if name == "color" else 1 :] for name, values in numbers.items()}

    def column(value: Tensor) -> Tensor:
        return value.reshape(-1, *(1,) * (x.dim() - 1))

    def factor(name: str, std: float) -> Tensor:
        return column(_power(happens[name], values[name], std))

    if _ALONG_AXES & numbers.keys():
        x = _along_axes(happens, values, x)
    if "brightness" in numbers:
        x = x + column(torch.where(happens["brightness"], 0.2 * _normal(values["brightness"]), 0.0))
    if "contrast" in numbers:
        x = x * factor("contrast", 0.5)
    if "saturation" in numbers and x.shape[1] > 1:
        x = torch.lerp(x.mean(1, keepdim=True), x, factor("saturation", 1.0))
    if "color" in numbers:
        brightness, saturation, contrast = torch.where(happens["color"], values["color"], 0.5).unbind(1)
        x = x + column(brightness - 0.5)
        if x.shape[1] > 1:
            x = torch.lerp(x.mean(1, keepdim=True), x, column(2 * saturation))
        x = torch.lerp(x.mean(tuple(range(1, x.dim())), keepdim=True), x, column(contrast + 0.5))
    if "translation" in numbers:
        places = []
        for number, size in zip(values["translation"].unbind(1), x.shape[2:], strict=True):
            most = int(size * 0.125 + 0.5)
            shift = torch.floor(number * (2 * most + 1)) - most
            places.append(
                torch.arange(size, device=x.device) + torch.where(happens["translation"][:, 0], shift, 0)[:, None]
            )
        x = _read(x, places)
    if "cutout" in numbers:
        x = x * (1 - _box(happens["cutout"], values["cutout"], x))
    return x


def _along_axes(happens: dict[str, Tensor], values: dict[str, Tensor], x: Tensor) -> Tensor:
    count, rank = len(x), x.dim() - 2
    # Made on the device: a copy from the host could not be captured in a CUDA graph.
    sides = torch.cat([torch.full((1,), float(size), device=x.device) for size in x.shape[2:]])
    sign, zoom = torch.ones(count, rank, device=x.device), torch.ones(count, rank, device=x.device)
    offset = torch.zeros(count, rank, device=x.device)
    if "flip" in values:
        flips = torch.where(happens["flip"] & (values["flip"] < 0.5), -1.0, 1.0)
        sign[:, rank - flips.shape[1] :] = flips
    if "scale" in values:
        zoom = zoom * _power(happens["scale"], values["scale"], 0.2)
    if "anisotropy" in values:
        stretch = _power(happens["anisotropy"], values["anisotropy"], 0.2)
        zoom = zoom * torch.cat([1 / stretch, stretch], 1)
    if "shift" in values:
        offset = offset + torch.where(happens["shift"], torch.round((2 * values["shift"] - 1) * 0.125 * sides), 0.0)
    if "fraction" in values:
        offset = offset + torch.where(happens["fraction"], 0.125 * _normal(values["fraction"]) * sides, 0.0)
    places = []
    for axis, size in enumerate(x.shape[2:]):
        centre = (size - 1) / 2
        steps = (torch.arange(size, device=x.device) - centre) * (sign / zoom)[:, axis, None]
        place = steps + centre - offset[:, axis, None]
        last = max(size - 1, 1)
        places.append(last - (place.remainder(2 * last) - last).abs())  # Mirrored at the outermost pixels.
    return _read(x, places)


def _read(x: Tensor, places: Sequence[Tensor]) -> Tensor:
    """`x` `[N, C, *S]` at places `[N, S_a]` along each axis, linearly; what lies outside is 0."""
    for axis, where in enumerate(places, 2):
        size = x.shape[axis]
        weights = (1 - (where[:, :, None] - torch.arange(size, device=x.device)).abs()).clamp_min(0)
        rows = x.movedim(axis, 1)
        x = torch.bmm(weights.to(x.dtype), rows.flatten(2)).view(rows.shape).movedim(1, axis)
    return x


def _box(happens: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """1 in a box of half the sides, whose middle lies anywhere in the image; `[N, 1, *S]`."""
    mask = happens.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))
    for axis, number in enumerate(values.unbind(1), 2):
        size = x.shape[axis]
        length = int(size * 0.5 + 0.5)
        first = torch.floor(number * (size + 1 - length % 2)) - length // 2
        place = torch.arange(size, device=x.device) - first[:, None]
        inside = (place >= 0) & (place < length)
        mask = mask * inside.view(len(x), *(-1 if a == axis else 1 for a in range(1, x.dim())))
    return mask


def _power(happens: Tensor, number: Tensor, std: float) -> Tensor:
    return torch.where(happens, torch.exp2(std * _normal(number)), 1.0)


def _normal(uniform: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * (uniform + 2.0**-24) - 1)


def mirror_and_turn(x: Tensor, flip: float, turn: float) -> Tensor:
    """Reals as they may also lie: mirrored along each axis, and by quarter turns of the last two."""
    count, rank = len(x), x.dim() - 2

    def happens(probability: float) -> Tensor:
        return (torch.rand(count, device=x.device) < probability).view(-1, *(1,) * (x.dim() - 1))

    if flip:
        for axis in range(2, 2 + rank):
            x = torch.where(happens(flip), x.flip(axis), x)
    if turn:
        turned = torch.randint(1, 4, (count,), device=x.device).view(-1, *(1,) * (x.dim() - 1))
        turned = torch.where(happens(turn), turned, 0)
        for times in range(1, 4):
            x = torch.where(turned == times, torch.rot90(x, times, (-2, -1)), x)
    return x
