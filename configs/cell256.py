"""Maps of continuous values, 256x256, one channel: WGAN-GP (Gulrajani et al. 2017) whose values keep their units.

    jaxgan train --config cell256 --data_dir FOLDER_OF_TIFFS --workdir runs/cells
    jaxgan generate --checkpoint runs/cells --output_dir out --num_samples 16 --formats tiff_units,tiff8,grid

Any of float32 (any range), uint16 and uint8. One scaling for the whole set is recorded and saved in every checkpoint:
integers of 8 bits by their range, other values from the set's minimum to its maximum (see docs/data.md).

The critic has no norm: batch norm would couple the samples that the penalty treats one by one
(`--config.critic.norm=batch` works and warns; `layer` is the other good choice).

Images that are dark nearly everywhere, as fluorescence is: `--config.data.stretch=sqrt` (docs/quality.md).

Variants, chosen after a colon: the default (the lean generator, one critic update an iteration, and what moves without
changing a value on reals and fakes alike), `source` (transposed convolutions, five critic updates, as the source of
this system describes it) and `small` (the default at 64x64; 2 CPU cores, about 15 minutes).

Hardware: one GPU; on 2 CPU cores some seconds an iteration (docs/performance.md). Figures: `small`, trained on 100
maps of nuclei for 1,212 processor seconds (Intel Xeon, float32), reached fd_vgg16 20.9 (15.8 to 26.8, three seeds) and
coverage 0.83 on 50 held-out ones (without `diffaugment` 34.5 and 0.51, with `stretch=sqrt` 15.0 and 0.93;
docs/quality.md has the commands). At full size, on a GPU: not measured yet.
"""

import dataclasses

from jaxgan.config import (
    Augmentation,
    Config,
    CriticConfig,
    DataConfig,
    DiffAugmentation,
    GeneratorConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)
from jaxgan.config.presets import choose


def source() -> Config:
    """As the source describes it, for about a hundred maps; flips and turns double as eight times the data."""
    return Config(
        data=DataConfig(size=256, channels=1),
        generator=GeneratorConfig(latent_dim=100, widths=(512, 512, 256, 128, 64, 32), norm="batch"),
        critic=CriticConfig(widths=(32, 64, 128, 256, 512, 512), norm="none"),
        objective=ObjectiveConfig(loss="wgan", penalty="gp", penalty_weight=10.0, n_critic=5),
        optimizer=OptimizerConfig(lr=1e-4, beta1=0.0, beta2=0.9),
        augment=Augmentation(flip=0.5, rot90=0.75),
        train=TrainConfig(
            batch_size=8,
            epochs=500.0,
            log_every_iterations=5,
            checkpoint_every_epochs=20.0,
            sample_every_epochs=20.0,
            num_samples=16,
        ),
    )


def full() -> Config:
    """The lean generator, one critic update an iteration, and moves of reals and fakes that change no value."""
    base = source()
    return dataclasses.replace(
        base,
        generator=dataclasses.replace(base.generator, network="lean"),
        objective=dataclasses.replace(base.objective, n_critic=1),
        optimizer=OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9),
        diffaugment=DiffAugmentation(policy=("shift", "scale", "fraction"), probability=0.8),
        train=dataclasses.replace(base.train, log_every_iterations=20),
    )


def small() -> Config:
    """The default at 64x64, with a higher rate."""
    base = full()
    return dataclasses.replace(
        base,
        data=DataConfig(size=64, channels=1),
        generator=dataclasses.replace(base.generator, widths=(256, 128, 64, 32)),
        critic=CriticConfig(widths=(32, 64, 128, 256)),
        optimizer=OptimizerConfig(lr=5e-4, beta1=0.0, beta2=0.9),
        train=dataclasses.replace(
            base.train, batch_size=32, iterations=4000, checkpoint_every_epochs=200.0, sample_every_epochs=200.0
        ),
    )


def get_config(variant: str = "default") -> Config:
    """The settings of one variant: default, source or small."""
    return choose({"default": full, "source": source, "small": small}, variant)()
