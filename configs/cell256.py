"""Maps of continuous values, 256x256, one channel: WGAN-GP (Gulrajani et al. 2017) whose values keep their units.

    python scripts/train.py --config configs/cell256.py --data_dir FOLDER_OF_TIFFS --workdir runs/cells
    python scripts/generate.py --checkpoint runs/cells --output_dir out --num_samples 16 --formats tiff_units,tiff8,grid

Any of float32 (any range), uint16 and uint8. One scaling for the whole set is recorded and saved in every checkpoint:
integers of 8 bits by their range, other values from the set's minimum to its maximum (see docs/data.md).

The critic has no norm: batch norm would couple the samples that the penalty treats one by one
(`--config.critic.norm=batch` works and warns; `layer` is the other good choice).

Hardware: one GPU; on 2 CPU cores some seconds an iteration (docs/performance.md). Figure to expect: not measured yet.
"""

from jaxgan.config import (
    Augmentation,
    Config,
    CriticConfig,
    DataConfig,
    GeneratorConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    """The settings for about a hundred maps; flips and turns double as eight times the data."""
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
