"""A trained generator as a repository of the Hugging Face Hub, and as a package for medigan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from jaxgan.errors import InputError, library, one_line
from jaxgan.inference.export import check_output, contents, write_folder
from jaxgan.inference.locations import repository
from jaxgan.inference.medigan import About, metadata, package
from jaxgan.inference.trained_model import TrainedModel
from jaxgan.runs.evaluations import read_evaluations
from jaxgan.runs.folder import CARD


def lay_out(
    model: TrainedModel, output: str | os.PathLike, about: About, overwrite: bool = False, half: bool = False
) -> list[Path]:
    """Writes an export, `README.md` as the hub reads it, and `metadata.json` and `__init__.py` for medigan.

    Args:
      model: from `load_trained_model`.
      output: folder of the files; it must not exist, or be empty.
      about: what its author says.
      overwrite: write into a folder that holds files, in place of an export there.
      half: see `export_model`.

    Returns:
      the files written.

    Raises:
      InputError: as `export_model`.
    """
    check_output(output, overwrite)
    files = contents(model, half=half)
    card = files[CARD].decode()
    if about.licence:
        card = card.replace("not stated: the owner of the data and of the model chooses it", about.licence)
        files[CARD] = card.encode()
    files["README.md"] = (_front_matter(model, about) + card).encode()
    files["metadata.json"] = metadata(model, about, _evaluated(model)).encode()
    files["__init__.py"] = package(model).encode()
    return write_folder(output, files, overwrite)


def upload(folder: str | os.PathLike, written: Sequence[Path], address: str, public: bool = False) -> str:
    """Puts files into a repository of the hub, which is made if there is none.

    Args:
      folder: that the files lie in.
      written: what `lay_out` wrote there; what else lies in the folder stays here.
      address: `hf://ORGANISATION/NAME`.
      public: whether a new repository is for everybody; one that exists stays as it is.

    Returns:
      The address of the commit on the web.

    Raises:
      InputError: the hub refuses, or cannot be reached.
    """
    name, revision = repository(address)
    hub = library("huggingface_hub", "hub", address)
    try:
        api = hub.HfApi(library_name="jaxgan")
        api.create_repo(name, private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=name,
            folder_path=os.fspath(folder),
            allow_patterns=[path.relative_to(folder).as_posix() for path in written],
            revision=revision,
            commit_message="Share a generator",
        )
    except Exception as error:  # Many kinds: no token, no right, no network.
        reason = f"{type(error).__name__}: {one_line(error)[:300]}"
        raise InputError(f"{address}: cannot be uploaded ({reason}); 'hf auth login' gives access") from None
    return str(done.commit_url)


def _front_matter(model: TrainedModel, about: About) -> str:
    """What the hub's search goes by, in YAML before the card."""
    flat = model.config.data.spatial_rank == 2
    fields: dict[str, Any] = {
        "library_name": "jaxgan",
        "tags": ["jaxgan", "gan", "synthetic-data", *about.modality, *about.organ, *about.tags],
    }
    if about.licence:
        fields["license"] = about.licence
    if flat and not model.class_names:
        fields["pipeline_tag"] = "unconditional-image-generation"
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n\n"


def _evaluated(model: TrainedModel) -> dict[str, float]:
    """Metrics of this step in the run's folder, of latents that were not cut off: each as it was evaluated last."""
    found: dict[str, float] = {}
    for record in read_evaluations(model.run_dir):  # The newest may hold a few metrics only.
        if record.get("step") == model.step and record.get("truncation") is None:
            for name, metric in record["metrics"].items():
                if metric["value"] is not None:
                    found.setdefault(name, metric["value"])
    return found
