"""MRI volumes, 64x64x64, by class: conditional 3D WGAN-GP, light enough for a CPU.

    python scripts/train.py --config configs/mri64.py --data_dir ROOT --workdir runs/mri
    python scripts/generate.py --checkpoint runs/mri --output_dir out --labels 0,1 --num_samples 4 --formats nifti,grid

`ROOT` has one folder of volumes a class (`0/`, `1/`, ...): NIfTI, npy or TIFF stacks, resized to 64 cubed on first use.
MR intensities have no unit, so each volume is scaled by its own percentiles (`data.normalise`, recorded).

Instance norm in both networks: no sample sees another, and a batch of 1 is as stable as any. A critic that meets the
class only in its norms may ignore it, so the class enters by projection (Miyato & Koyama 2018).

Hardware: one GPU or 2 CPU cores (docs/performance.md). Figure to expect: not measured yet.
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
    """The settings: ngf = ndf = 32, batch 4."""
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
