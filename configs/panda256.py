"""Histology patches, 256x256 RGB, cut from whole-slide images.

    jaxgan prepare slides --source SLIDES --data_dir DATA --name panda --size 256 --max_patches 10000
    jaxgan prepare check --data_dir DATA --name panda
    nohup jaxgan train --config panda256 --data_dir DATA/panda --workdir runs/panda > panda.log &

Variants, chosen after a colon: the default (residual networks with self-attention, WGAN-GP with R1, augmentation of
reals and fakes), `source` (growing from 8x8, spectral and instance norm, as the source of this system describes it; its
perceptual loss is `--config.objective.perceptual_weight=1`), `plain` (transposed convolutions), and for a laptop, at
64x64: `small` (the lean generator), its networks in other games (`small_r3gan`: relativistic with R1 and R2;
`small_r1`: non-saturating with lazy R1), and `plain_small`.

By grade: prepare with `--labelled` and add `--config.data.labelled=True --config.critic.conditioning=projection`. With
less memory: `--config.train.accumulate=2`, which batch norm does not allow: add `--config.generator.norm=group`.

Hardware: one GPU; `small` and `plain_small`: 2 CPU cores, for about 15 minutes. Figures: `small` reached fd_vgg16 48.2
(44 to 51) and coverage 0.78 on held-out tissue in 1,210 processor seconds, three seeds (Intel Xeon, float32; reals
against reals 14.6 and 1.00; docs/quality.md has the command, and other networks). At full size, on a GPU: not measured
yet.
"""

import dataclasses

from jaxgan.config import (
    Augmentation,
    Config,
    CriticConfig,
    DataConfig,
    DiffAugmentation,
    GeneratorConfig,
    GrowingConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)
from jaxgan.config.presets import choose


def improved() -> Config:
    """Residual networks with self-attention, one critic update an iteration, R1 beside the gradient penalty."""
    return Config(
        data=DataConfig(size=256, channels=3),
        generator=GeneratorConfig(
            network="resnet", latent_dim=128, widths=(256, 256, 128, 64, 32, 16), norm="batch", attention=(32,)
        ),
        critic=CriticConfig(network="resnet", widths=(16, 32, 64, 128, 256, 256), attention=(32,)),
        objective=ObjectiveConfig(
            loss="wgan", penalty="gp", penalty_weight=10.0, r1_weight=0.1, drift_weight=1e-3, n_critic=1
        ),
        optimizer=OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9, schedule="linear", warmup_iterations=500),
        # Tissue has no upright: flips and turns of the reals alone. Colours change on both sides, or samples show it.
        augment=Augmentation(flip=0.5, rot90=0.75),
        diffaugment=DiffAugmentation(policy=("color", "translation", "cutout"), probability=0.5),
        train=TrainConfig(
            batch_size=8,
            epochs=300.0,
            log_every_iterations=20,
            checkpoint_every_epochs=10.0,
            sample_every_epochs=10.0,
            num_samples=16,
        ),
    )


def source() -> Config:
    """As the source describes it: growing, spectral norm with instance norm, penalty and R1, a low rate with warm-up.

    Of the million images that 200 epochs of 5,000 patches show, the last quarter is shown at the full side.
    """
    base = improved()
    return dataclasses.replace(
        base,
        generator=dataclasses.replace(base.generator, network="growing", norm="instance", spectral=True),
        critic=dataclasses.replace(base.critic, network="growing", norm="instance", spectral=True),
        growing=GrowingConfig(fade_images=75_000, hold_images=75_000),
        objective=dataclasses.replace(base.objective, n_critic=5),
        optimizer=OptimizerConfig(lr=5e-5, beta1=0.0, beta2=0.9, warmup_iterations=500),
        train=dataclasses.replace(base.train, epochs=200.0),
    )


def plain() -> Config:
    """Transposed convolutions and five critic updates an iteration."""
    base = improved()
    return dataclasses.replace(
        base,
        generator=GeneratorConfig(latent_dim=128, widths=(512, 512, 256, 128, 64, 32), norm="batch"),
        critic=CriticConfig(widths=(32, 64, 128, 256, 512, 512), norm="none"),
        objective=ObjectiveConfig(loss="wgan", penalty="gp", penalty_weight=10.0, drift_weight=1e-3, n_critic=5),
        optimizer=OptimizerConfig(lr=5e-5, beta1=0.0, beta2=0.9, warmup_iterations=500),
        diffaugment=DiffAugmentation(policy=("color",), probability=0.3),
        train=dataclasses.replace(base.train, epochs=200.0, log_every_iterations=5),
    )


def plain_small() -> Config:
    """The plain networks at 64x64."""
    base = plain()
    return dataclasses.replace(
        base,
        data=DataConfig(size=64, channels=3),
        generator=GeneratorConfig(latent_dim=128, widths=(256, 128, 64, 32), norm="batch"),
        critic=CriticConfig(widths=(32, 64, 128, 256)),
        optimizer=OptimizerConfig(lr=2e-4, beta1=0.0, beta2=0.9),
        diffaugment=DiffAugmentation(),
        train=dataclasses.replace(base.train, batch_size=16, iterations=1000, num_samples=64, sample_every_epochs=20.0),
    )


def small() -> Config:
    """At 64x64: the lean generator, one critic update an iteration, a high rate."""
    base = plain_small()
    return dataclasses.replace(
        base,
        generator=dataclasses.replace(base.generator, network="lean"),
        objective=ObjectiveConfig(loss="wgan", penalty="gp", penalty_weight=10.0, n_critic=1),
        optimizer=OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.9),
        train=dataclasses.replace(base.train, batch_size=32, iterations=4000),
    )


def small_r3gan() -> Config:
    """The networks of `small`, each score against another: relativistic, R1 and R2 (Huang et al. 2024, R3GAN)."""
    objective = ObjectiveConfig(loss="relativistic", penalty="r1+r2", penalty_weight=1.0, n_critic=1)
    return dataclasses.replace(small(), objective=objective)


def small_r1() -> Config:
    """The networks of `small`, non-saturating with R1 at every 16th critic update (Karras et al. 2020)."""
    objective = ObjectiveConfig(
        loss="non_saturating", penalty="r1", penalty_weight=1.0, penalty_interval=16, n_critic=1
    )
    return dataclasses.replace(small(), objective=objective)


def get_config(variant: str = "default") -> Config:
    """The settings of one variant: default, source, plain, small, small_r3gan, small_r1 or plain_small."""
    makers = {
        "default": improved,
        "source": source,
        "plain": plain,
        "small": small,
        "small_r3gan": small_r3gan,
        "small_r1": small_r1,
        "plain_small": plain_small,
    }
    return choose(makers, variant)()
