"""Parity with public implementations, on the same weights, features and images (extra `test-parity`)."""

import dataclasses
import importlib
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation import evaluate
from jaxgan.evaluation.metrics.frechet import frechet_distance
from jaxgan.evaluation.metrics.inception_score import inception_score
from jaxgan.evaluation.metrics.kernel import kernel_distance
from jaxgan.evaluation.metrics.msssim import WEIGHTS, ms_ssim
from jaxgan.evaluation.metrics.prdc import precision_recall
from jaxgan.evaluation.moments import moments_of
from jaxgan.evaluation.networks.extractor import inception_extractor
from jaxgan.evaluation.networks.weights import read_tensors

pytestmark = pytest.mark.parity
SIZES = (28, 64, 299)
OUTPUTS = ["64", "192", "768", "2048", "logits_unbiased"]


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_torch_save_are_read_without_torch(tmp_path, legacy):
    torch = importlib.import_module("torch")
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4)).state_dict()
    state["transposed"], state["half"] = torch.randn(3, 5).T, torch.randn(7).half()
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = read_tensors(tmp_path / "a.pth")
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.numpy())


@pytest.fixture(scope="module")
def fidelity():
    """`torch_fidelity`'s modules, importable without torchvision (which it needs for data sets only)."""
    stand_ins = {}
    for name in ("", ".transforms", ".transforms.functional", ".models", ".datasets"):
        stand_ins[f"torchvision{name}"] = types.ModuleType(f"torchvision{name}")
    for name in ("CIFAR10", "STL10", "CIFAR100"):
        setattr(stand_ins["torchvision.datasets"], name, type(name, (), {}))
    missing = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(missing)
    names = ("feature_extractor_inceptionv3", "metric_fid", "metric_kid", "metric_isc")
    yield types.SimpleNamespace(**{n: importlib.import_module(f"torch_fidelity.{n}") for n in names})
    for name in missing:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def networks(fidelity, tmp_path_factory):
    """torch-fidelity's Inception with random weights, and ours from the same file."""
    import torch

    torch.manual_seed(0)
    module = fidelity.feature_extractor_inceptionv3
    folder = tmp_path_factory.mktemp("inception")
    path = folder / "random.pth"
    # The constructor insists on a file: give it one that holds the untrained network's own tensors.
    load, torch.load = torch.load, lambda *args, **kwargs: None
    strict = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda self, state, *args: None
    try:
        reference = module.FeatureExtractorInceptionV3("reference", OUTPUTS, feature_extractor_weights_path="-")
    finally:
        torch.load, torch.nn.Module.load_state_dict = load, strict
    for name, value in reference.state_dict().items():
        if name.endswith("conv.weight") or name == "fc.weight":
            torch.nn.init.kaiming_normal_(value)
        elif name.endswith(("running_var", "bn.weight")):
            value.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
    torch.save(reference.state_dict(), path)
    return reference, inception_extractor(path, folder)


def images(size, count=4, seed=0):
    """Smooth colourful uint8 images `[N, size, size, 3]`."""
    rng = np.random.default_rng([seed, size])
    coarse = rng.uniform(-60, 315, (count, 5, 5, 3))
    import jax

    smooth = np.asarray(jax.image.resize(coarse, (count, size, size, 3), "cubic"))
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def reference_outputs(reference, batch):
    import torch

    outputs = reference(torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2))))
    return [o.numpy() for o in outputs]


@pytest.mark.parametrize("size", SIZES)
def test_inception_features_are_torch_fidelitys(networks, size):
    from jaxgan.evaluation.networks.inception import InceptionV3

    reference, ours = networks
    batch = images(size, 2)
    found = InceptionV3().apply(ours.variables, jnp.asarray(batch, jnp.float32))
    for name, expected in zip(OUTPUTS, reference_outputs(reference, batch), strict=True):
        error = np.abs(np.asarray(found[name]) - expected).max() / np.abs(expected).max()
        assert error < 1e-3, (name, error)


def test_fid_kid_is_on_the_same_images(fidelity, networks):
    from jaxgan.evaluation.networks.inception import InceptionV3

    reference, ours = networks
    real, generated = images(32, 6, seed=1), images(32, 6, seed=2)
    outputs = [reference_outputs(reference, batch) for batch in (generated, real)]

    def apply(variables, planes):
        found = InceptionV3().apply(variables, jnp.rint((planes + 1.0) * 127.5))
        return found["768"], found["logits_unbiased"]

    # The 768 features: torch-fidelity's root of a non-symmetric 2048 x 2048 matrix alone takes half a minute.
    extractor = dataclasses.replace(ours, width=768, apply=apply)
    result = evaluate([real / 127.5 - 1], [generated / 127.5 - 1], ("fid", "kid", "is"), extractor=extractor)
    expected = reference_metrics(fidelity, outputs[0][2], outputs[1][2], outputs[0][4], 3, 6)
    for name, value in expected.items():
        assert result.values()[name] == pytest.approx(value, rel=1e-3), name


def reference_metrics(fidelity, generated, real, logits, block_size, splits):
    import torch

    statistics = [fidelity.metric_fid.fid_features_to_statistics(torch.from_numpy(f)) for f in (generated, real)]
    fid = fidelity.metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    kid = fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), kid_subset_size=block_size, kid_subsets=100, verbose=False
    )
    isc = fidelity.metric_isc.isc_features_to_metric(torch.from_numpy(logits), splits=splits)
    return {
        "fid": fid["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
        "inception_score": isc["inception_score_mean"],
    }


def test_fid_kid_is_on_the_same_features(fidelity):
    rng = np.random.default_rng()
    mixing = rng.standard_normal((64, 256)) / 8
    real, generated = (
        # Far apart: near 0 the unbiased distance is all cancellation, which torch-fidelity does in float32.
        np.abs(rng.standard_normal((1200, 64)) @ mixing + shift).astype(np.float32)
        for shift in (0.0, 0.5)
    )
    logits = (3 * rng.standard_normal((1200, 100))).astype(np.float32)
    expected = reference_metrics(fidelity, generated, real, logits, 1000, 10)
    assert frechet_distance(moments_of(real), moments_of(generated)) == pytest.approx(expected["fid"], rel=1e-3)
    assert kernel_distance(real, generated)[0] == pytest.approx(expected["kid"], rel=1e-3)
    assert inception_score(logits)[0] == pytest.approx(expected["inception_score"], rel=1e-3)


@pytest.mark.parametrize("shape", [(2, 176, 181, 3), (2, 177, 163, 1)])
def test_ms_ssim_is_pytorch_msssims(shape):
    torch = importlib.import_module("torch")
    reference = importlib.import_module("pytorch_msssim")
    rng = np.random.default_rng()
    x = rng.uniform(0, 1, shape).astype(np.float32)
    y = np.clip(x + rng.normal(0, 0.2, shape), 0, 1).astype(np.float32)
    x_torch, y_torch = (torch.from_numpy(a.transpose(0, 3, 1, 2).copy()) for a in (x, y))
    for levels in (5, 3):
        weights = [w / sum(WEIGHTS[:levels]) for w in WEIGHTS[:levels]]
        expected = reference.ms_ssim(x_torch, y_torch, data_range=1.0, size_average=False, weights=weights).numpy()
        if levels == 5:
            expected_default = reference.ms_ssim(x_torch, y_torch, data_range=1.0, size_average=False).numpy()
            # The published weights sum to 1.0001; ours to 1.
            np.testing.assert_allclose(expected, expected_default, rtol=1e-3)
        np.testing.assert_allclose(np.asarray(ms_ssim(x, y, levels)), expected, rtol=1e-3)


def test_ssim_is_scikit_images():
    metrics = importlib.import_module("skimage.metrics")
    rng = np.random.default_rng()
    x = rng.uniform(0, 1, (1, 32, 32, 1)).astype(np.float32)
    y = np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1).astype(np.float32)
    _, full = metrics.structural_similarity(
        x[0, ..., 0],
        y[0, ..., 0],
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert float(ms_ssim(x, y, 1)[0]) == pytest.approx(full[5:-5, 5:-5].mean(), rel=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_precision_recall_density_coverage_are_prdcs(shift):
    reference = importlib.import_module("prdc")
    rng = np.random.default_rng()
    real = rng.standard_normal((400, 32)).astype(np.float32) + 5
    generated = rng.standard_normal((300, 32)).astype(np.float32) * 0.9 + 5 + shift
    expected = reference.compute_prdc(real, generated, nearest_k=5)
    found = precision_recall(real, generated)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-3), name
