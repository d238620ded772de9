"""Which job this process belongs to, as its environment says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from jaxgan.errors import InputError

# Variables that say it, the first that is set counts: ours, JAX's, Kubernetes', Open MPI's, SLURM's.
ADDRESS = ("JAXGAN_COORDINATOR", "JAX_COORDINATOR_ADDRESS")
COUNT = ("JAXGAN_PROCESSES", "JAX_NUM_PROCESSES", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")
INDEX = ("JAXGAN_PROCESS", "JAX_PROCESS_ID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
# With it JAX finds the coordinator's address under Open MPI; version 5 sets it no more.
_OPEN_MPI = "OMPI_MCA_orte_hnp_uri"


@dataclasses.dataclass(frozen=True)
class Place:
    """A process's place in a job.

    Attributes:
      address: host:port of process 0.
      count: processes of the job.
      index: of this one.
      devices: which of its host's devices are its own; None: all.
    """

    address: str
    count: int
    index: int
    devices: list[int] | None = None


def find_place(environment: Mapping[str, str]) -> Place | None:
    """This process's place in a job of several processes, or None.

    Raises:
      InputError: half a job is described, an index beyond the count, or an Open MPI job without an address.
    """
    address = _first(environment, ADDRESS)
    slurm = int(environment.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in environment
    open_mpi = environment.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    if address:
        devices = None
        count, index = _first(environment, COUNT), _first(environment, INDEX)
        if ":" not in address or not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
            raise InputError(
                "JAXGAN_COORDINATOR, JAXGAN_PROCESSES, JAXGAN_PROCESS must all be set: host:port, count, index below"
                f" it; got {[address, count, index]}"
            )
        place = Place(address, int(count), int(index), devices)
    elif open_mpi and _OPEN_MPI not in environment:
        # Else each would take itself for a job of one process; SLURM's variables are those of mpirun's own daemons.
        raise InputError(
            f"Open MPI started {environment['OMPI_COMM_WORLD_SIZE']} processes and does not say where the first one is:"
            " give mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT, the first one's host and a free port there"
        )
    elif slurm or open_mpi or environment.get("JAXGAN_DISTRIBUTED") == "1":
        place = _detected(_slurm_devices(environment) if slurm else None)
    else:
        return None
    return place if place.count > 1 else None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if environment.get(name)), "")


def _detected(devices: list[int] | None) -> Place:
    """As JAX finds it: under SLURM and Open MPI, in Kubernetes, on a TPU pod."""
    # In public JAX offers this only together with connecting at once.
    from jax._src.clusters import ClusterEnv

    found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, devices, None, 60)
    address, count, index, own = found
    if address is None or count is None or index is None:
        raise InputError(
            "JAXGAN_DISTRIBUTED=1, but no cluster is found: set JAXGAN_COORDINATOR, JAXGAN_PROCESSES, JAXGAN_PROCESS"
        )
    return Place(address, count, index, None if own is None else list(own))


def _slurm_devices(environment: Mapping[str, str]) -> list[int] | None:
    """With one task a node: all of its GPUs, where JAX by itself would take only the first. Else as JAX decides."""
    one_task_a_node = environment.get("SLURM_NTASKS") == environment.get("SLURM_NNODES")
    visible = [part for part in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
    count = len(visible) or int(environment.get("SLURM_GPUS_ON_NODE", "0"))
    return list(range(count)) if one_task_a_node and count else None
