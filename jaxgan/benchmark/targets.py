"""Accelerators to compile for without having one: what they are, and descriptions of their devices."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

import jax

from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of device, by its maker's data sheet.

    Attributes:
      platform: "gpu" or "tpu", as JAX calls it.
      memory: bytes.
      usable: the share of them that a program gets (JAX keeps a quarter of a GPU's for libraries; of a TPU's, what
        its compiler says when it refuses a larger one).
      peak: operations a second of dense matrix products by precision. float32 runs as JAX runs it by default: rounded
        to TF32 on a GPU, to bfloat16 on a TPU.
      bandwidth: bytes a second to and from memory.
      topology: for a TPU its name in libtpu and how many dimensions its networks have.
    """

    platform: str
    memory: float
    usable: float
    peak: dict[str, float]
    bandwidth: float
    topology: tuple[str, int] = ("", 0)


CHIPS = {
    "a100": Chip("gpu", 85100068864, 0.75, {"float32": 156e12, "bfloat16": 312e12}, 2.039e12),
    "h100": Chip("gpu", 84942979072, 0.75, {"float32": 495e12, "bfloat16": 989e12}, 3.352e12),
    "v4": Chip("tpu", 32 * 2**30, 30.75 / 32, {"float32": 275e12, "bfloat16": 275e12}, 1.228e12, ("v4", 3)),
    "v5e": Chip("tpu", 16 * 2**30, 15.75 / 16, {"float32": 197e12, "bfloat16": 197e12}, 0.819e12, ("v5e", 2)),
    "v5p": Chip("tpu", 95 * 2**30, 95.74 / 95, {"float32": 459e12, "bfloat16": 459e12}, 2.765e12, ("v5", 3)),
    "v6e": Chip("tpu", 32 * 2**30, 31.25 / 32, {"float32": 918e12, "bfloat16": 918e12}, 1.640e12, ("v6e", 2)),
}
# Cores of these are compiled for as one device a chip.
_MEGACORE = ("v4", "v5p")


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
      name: as it was asked for.
      chip: what each of them is.
      grid: how many along each dimension of their network.
    """

    name: str
    chip: Chip
    grid: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many devices."""
        return prod(self.grid)

    def devices(self) -> Sequence[jax.Device]:
        """Devices that can be compiled for and nothing else.

        Raises:
          InputError: what compiles for them is not installed, or knows no such grid.
        """
        package, extra = ("jax_plugins.xla_cuda12", "gpu") if self.chip.platform == "gpu" else ("libtpu", "tpu")
        if not _installed(package):
            raise InputError(f"--target {self.name} needs a compiler: pip install 'jaxgan[target-{extra}]'")
        # Here and not above: it loads the compilers.
        from jax.experimental import topologies

        try:
            if self.chip.platform == "gpu":
                description = (Path(__file__).parent / "chips" / f"{self.name.partition(':')[0]}.txtpb").read_text()
                grid = "x".join(map(str, (1, 1, self.count)))
                return topologies.get_topology_desc(platform="cuda", target_config=description, topology=grid).devices
            # libtpu asks the network of Google Cloud for what machine this is, and refuses a second user, unless told.
            os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
            os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
            # And complains of what it did not hear then. Of any target: what is compiled for stands below.
            os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
            os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
            kind, rank = self.chip.topology
            hosts = tuple(min(n, limit) for n, limit in zip(self.grid, (2, 4) if rank == 2 else (2, 2, 1), strict=True))
            return topologies.get_topology_desc(
                platform="tpu",
                topology_name=f"{kind}:{'x'.join(map(str, self.grid))}",
                chip_config_name="megacore" if self.name.partition(":")[0] in _MEGACORE else "default",
                chips_per_host_bounds=(*hosts, *(1,) * (3 - len(hosts))),
                num_slices=1,
                wrap=(False,) * 3,
            ).devices
        except (RuntimeError, NotImplementedError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"--target {self.name} cannot be described by this version of JAX: {reason}") from error


def find_target(name: str) -> Target:
    """A target by name: "h100", "h100:8", or a TPU with its grid, "v5e:2x2", "v5p:2x2x1".

    Raises:
      InputError: no such chip, or a grid that is not one.
    """
    kind, _, grid = name.partition(":")
    if kind not in CHIPS:
        raise InputError(f"--target {name} is not known: choose from {', '.join(CHIPS)}, e.g. h100 or v5e:2x2")
    chip = CHIPS[kind]
    rank = chip.topology[1] if chip.platform == "tpu" else 1
    sides = grid.split("x") if grid else ["1"] if chip.platform == "gpu" else []
    if len(sides) != rank or not all(side.isascii() and side.isdigit() and int(side) > 0 for side in sides):
        example = kind + ":" + ("8" if chip.platform == "gpu" else "x".join("221"[:rank]))
        raise InputError(f"--target {name} is not valid: give the devices as in {example}")
    return Target(name, chip, tuple(map(int, sides)))


def stay_on_host() -> None:
    """Let this process compute on the CPU alone; call before anything touches a device.

    A compiler for GPUs would else look for a GPU, find none, and not offer itself.
    """
    jax.config.update("jax_platforms", "cpu")


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False
