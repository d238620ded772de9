"""PathMNIST tissue patches, 28x28, gray: Wasserstein GAN with weight clipping (Arjovsky et al. 2017).

    python scripts/train.py --config configs/pathmnist.py --data_dir pathmnist.npz --workdir runs/pathmnist

`--data_dir` is the MedMNIST file (or a folder with just it), prepared on first use. On CPU add
`--config.train.batch_size=64`. In colour: `--config.data.channels=3`; by class: `--config.data.labelled=True
--config.critic.conditioning=projection`.

Hardware: 2 CPU cores or any accelerator. Figure to expect: not measured yet on the official file; the source of these
settings reports FID 67.42 and Inception Score 1.0689, with an unstated protocol.
"""

from jaxgan.config import (
    Config,
    CriticConfig,
    DataConfig,
    GeneratorConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)


def get_config() -> Config:
    """The settings: latent 100, ngf = ndf = 64, RMSprop 5e-5, five clipped critic updates an iteration."""
    return Config(
        data=DataConfig(size=28, channels=1),
        generator=GeneratorConfig(latent_dim=100, widths=(128, 64), norm="batch"),
        critic=CriticConfig(widths=(64, 128), norm="none"),
        objective=ObjectiveConfig(loss="wgan", weight_clip=0.01, n_critic=5),
        optimizer=OptimizerConfig(name="rmsprop", lr=5e-5, beta2=0.99),
        train=TrainConfig(
            batch_size=128,
            epochs=50.0,
            checkpoint_every_epochs=10.0,
            sample_every_epochs=5.0,
        ),
    )
