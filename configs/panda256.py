"""Histology patches, 256x256 RGB, cut from whole-slide images: WGAN-GP with warm-up and augmentation.

    python scripts/prepare_data.py slides --source SLIDES --data_dir DATA --name panda --size 256 --max_patches 10000
    python scripts/prepare_data.py check --data_dir DATA --name panda
    nohup python scripts/train.py --config configs/panda256.py --data_dir DATA/panda --workdir runs/panda > panda.log &

By grade: prepare with `--labelled` and add `--config.data.labelled=True --config.critic.conditioning=projection`.

These are the plain networks; progressive growing, self-attention and residual blocks are not there yet.
Hardware: one GPU. Figure to expect: not measured yet.
"""

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


def get_config() -> Config:
    """The settings for some thousand patches: tissue has no upright, and its colours vary with the stain."""
    return Config(
        data=DataConfig(size=256, channels=3),
        generator=GeneratorConfig(latent_dim=128, widths=(512, 512, 256, 128, 64, 32), norm="batch"),
        critic=CriticConfig(widths=(32, 64, 128, 256, 512, 512), norm="none"),
        objective=ObjectiveConfig(loss="wgan", penalty="gp", penalty_weight=10.0, drift_weight=1e-3, n_critic=5),
        optimizer=OptimizerConfig(lr=5e-5, beta1=0.0, beta2=0.9, warmup_iterations=500),
        # Tissue has no upright: flips and turns of the reals alone. Colours change on both sides, or samples show it.
        augment=Augmentation(flip=0.5, rot90=0.75),
        diffaugment=DiffAugmentation(policy=("color",), probability=0.3),
        train=TrainConfig(
            batch_size=8,
            epochs=200.0,
            log_every_iterations=5,
            checkpoint_every_epochs=10.0,
            sample_every_epochs=10.0,
            num_samples=16,
        ),
    )
