"""MRI volumes, 64x64x64, by class: conditional 3D WGAN-GP, light enough for a CPU.

    jaxgan train --config mri64 --data_dir ROOT --workdir runs/mri
    jaxgan generate --checkpoint runs/mri --output_dir out --labels 0,1 --num_samples 4 --formats nifti,grid

`ROOT` has one folder of volumes a class (`0/`, `1/`, ...): NIfTI, npy or TIFF stacks, brought to one spacing in
millimetres and to 64 cubed on first use. MR intensities have no unit, so each volume is scaled by its own percentiles
(`data.normalise`, recorded).

Instance norm in the generator, none in the critic: no sample sees another, and a batch of 1 is as stable as any. A
critic that meets the class only in its norms may ignore it, so the class enters by projection (Miyato & Koyama 2018).

Variants, chosen after a colon: the default (the lean generator, one critic update an iteration), `source` (transposed
convolutions, instance norm in both networks, five critic updates, as the source of this system describes it) and
`small` (the default at 32 cubed; 2 CPU cores, about 15 minutes).

Hardware: one GPU or 2 CPU cores (docs/performance.md). Figures: `small` reached fd_vgg16 7.7 to 10.1 on held-out
hippocampi in 608 processor seconds (three seeds on two machines, float32), where `source` at the same side and the same
time had 76 to 98; 94 to 97% of its samples show their class (docs/quality.md has the command). At full size, on a GPU:
not measured yet.
"""

import dataclasses

from jaxgan.config import (
    Config,
    CriticConfig,
    DataConfig,
    GeneratorConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)
from jaxgan.config.presets import choose


def source() -> Config:
    """As the source describes it: ngf = ndf = 32, instance norm in both networks, batch 4."""
    return Config(
        data=DataConfig(size=64, spatial_rank=3, channels=1, labelled=True, normalise="percentile"),
        generator=GeneratorConfig(latent_dim=100, widths=(256, 128, 64, 32), norm="instance"),
        critic=CriticConfig(widths=(32, 64, 128, 256), norm="instance", conditioning="projection"),
        objective=ObjectiveConfig(loss="wgan", penalty="gp", penalty_weight=10.0, drift_weight=1e-3, n_critic=5),
        optimizer=OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9),
        train=TrainConfig(
            batch_size=4,
            epochs=200.0,
            log_every_iterations=5,
            checkpoint_every_epochs=10.0,
            sample_every_epochs=10.0,
            num_samples=8,
        ),
    )


def full() -> Config:
    """The lean generator, a critic without norms, one critic update an iteration."""
    base = source()
    return dataclasses.replace(
        base,
        generator=dataclasses.replace(base.generator, network="lean"),
        critic=dataclasses.replace(base.critic, norm="none"),
        objective=dataclasses.replace(base.objective, n_critic=1),
        optimizer=OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9),
        train=dataclasses.replace(base.train, log_every_iterations=20),
    )


def small() -> Config:
    """The default at 32 cubed, with a higher rate."""
    base = full()
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, size=32),
        generator=dataclasses.replace(base.generator, latent_dim=64, widths=(64, 32, 16)),
        critic=dataclasses.replace(base.critic, widths=(16, 32, 64)),
        optimizer=OptimizerConfig(lr=5e-4, beta1=0.0, beta2=0.9),
        train=dataclasses.replace(base.train, batch_size=8, iterations=3000, sample_every_epochs=40.0),
    )


def get_config(variant: str = "default") -> Config:
    """The settings of one variant: default, source or small."""
    return choose({"default": full, "source": source, "small": small}, variant)()
