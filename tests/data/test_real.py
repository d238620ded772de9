"""Every real file is read, or refused with the true reason."""

import numpy as np
import pytest

from jaxgan.data.listing.archives import list_idx, list_npz
from jaxgan.data.listing.collection import CACHE_SUFFIX, list_folder
from jaxgan.data.listing.medmnist import check_official
from jaxgan.data.listing.patches import Cutting, list_slides
from jaxgan.data.open import open_dataset
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import prepare
from jaxgan.data.preparing.prepared import open_prepared
from jaxgan.data.readers import SUFFIXES, read_file, suffix_of
from jaxgan.errors import InputError

pytestmark = pytest.mark.real_data

# The only file that holds no single image or volume.
REFUSED = {"nibabel_example4d.nii.gz": "a series and not one volume"}


def test_every_image_and_volume_is_read(shared_data):
    seen = set()
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file() or suffix_of(path) not in SUFFIXES or suffix_of(path) == ".npz":
            continue
        if any(parent.name.endswith(CACHE_SUFFIX) for parent in path.parents):
            continue  # what jaxgan itself prepared beside the data when somebody trained on them
        rank = 3 if ".nii" in path.name else 2
        seen.add(path)
        if path.name in REFUSED:
            with pytest.raises(InputError, match=REFUSED[path.name]):
                read_file(path, rank)
            continue
        (decoded,) = read_file(path, rank)
        assert decoded.pixels.ndim == rank + 1 and decoded.pixels.min() < decoded.pixels.max(), path
        assert (decoded.affine is not None) == (rank == 3)
    assert {path.name for path in seen} >= set(REFUSED) and len(seen) > 400


def test_archives(shared_data, caplog):
    check_official(shared_data / "medmnist/adrenalmnist3d.npz")
    assert caplog.text == ""  # it is the official file
    mnist = list_idx(shared_data / "mnist")
    assert {split: len(entries) for split, entries in mnist.splits.items()} == {"train": 60_000, "test": 10_000}
    sizes = {
        "medmnist/adrenalmnist3d.npz": ({"train": 1188, "val": 98, "test": 298}, 3, 2),
        "medmnist/pneumoniamnist_balanced_subset.npz": ({"train": 2428, "val": 270, "test": 468}, 2, 2),
        "pathmnist_standin/nctcrc9_28.npz": ({"train": 990, "val": 108, "test": 216}, 2, 9),
        "pathmnist_standin/bccd_cells_28.npz": ({"train": 1415, "val": 592}, 2, 3),
    }
    for name, (splits, rank, classes) in sizes.items():
        found = list_npz(shared_data / name)
        assert {split: len(entries) for split, entries in found.splits.items()} == splits
        assert (found.spatial_rank, len(found.class_names)) == (rank, classes)


@pytest.mark.parametrize("folder", ["dsb2018_probmap_f32", "dsb2018_instances_u16", "dsb2018_fluo_256", "bbbc007_u16"])
def test_cell_maps_come_back_within_one_quantum(shared_data, tmp_path, folder):
    collection = list_folder(shared_data / "cells" / folder)
    dataset = open_prepared(prepare(collection, tmp_path, "cells", Conversion()))
    stored = dataset.load()
    originals = np.stack([entry.read()[0].pixels for entry in collection.splits["train"]])
    np.testing.assert_array_equal(stored, originals)
    back = dataset.scaling.encode(dataset.scaling.decode(stored)).astype(np.float64)
    quantum = np.spacing(stored.max()) if stored.dtype.kind == "f" else 0
    assert np.abs(back - stored).max() <= quantum


def test_hippocampus_volumes_become_comparable(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="dtypes float32 and uint8"):
        open_dataset(shared_data / "mri/hippocampus", size=32)
    dataset = open_dataset(shared_data / "mri/hippocampus", size=32, normalise="percentile", labelled=True)
    assert dataset.shape == (32, 32, 32, 1) and dataset.class_names == ("large", "small")
    volumes = dataset.load()
    assert (volumes.max((1, 2, 3, 4)) > 0.9).all() and (volumes.min((1, 2, 3, 4)) == 0).all()
    assert np.linalg.det(dataset.affine) > 0


def test_slide_patches_hold_tissue(shared_data):
    found = list_slides(shared_data / "histology/wsi", Cutting(size=256)).splits["train"]
    assert len(found) >= 30
    # Glass is bright in all channels; that is another measure than the one that chose the patches.
    shares = [(entry.read()[0].pixels.min(-1) < 200).mean() for entry in found]
    assert np.mean(np.array(shares) > 0.25) >= 0.95
