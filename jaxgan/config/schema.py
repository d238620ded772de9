"""The resolved configuration of a run: frozen dataclasses that validate every field and their combinations.

Presets, records and the command line end in the dataclasses below.
Every error names the field, as it is written on the command line (`config.train.batch_size`), and the way out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxgan.config import legacy
from jaxgan.config.augmentation import Augmentation, DiffAugmentation
from jaxgan.config.networks import CriticConfig, GeneratorConfig, GrowingConfig
from jaxgan.config.objective import ObjectiveConfig, OptimizerConfig
from jaxgan.config.parsing import at_most, build, known, not_negative, one_of, plain, positive, require
from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What the images are and how they reach the device.

    `size`, `spatial_rank` and `channels` give the sample shape `(size,) * spatial_rank + (channels,)`. `scaling` maps
    stored values to [-1, 1] by the "range" of their integer type, by "minmax" or by a "percentile" of the whole set, or
    between "fixed" values (docs/data.md); "auto" takes what the data were prepared with. `normalise` "percentile"
    scales each MRI volume by itself; "none" none. `source` "auto" keeps the set on every device when it fits into
    `resident_budget_gib` ("resident"), else spreads it over the devices when a device's part fits ("sharded"), else
    reads it from disk ("streaming"); all three give the same training bit for bit. `balanced` draws every class equally
    often, whatever its share of the data. `split` is the one to train on, several joined by "+", or "all"; data that
    have but one call it "train". `holdout` is a share of raw data, or one of their splits, that is not trained on and
    with which evaluation compares; `group` is a regular expression that finds the subject in a file's name, so that no
    subject is on both sides. `stretch` "sqrt" shows networks the square root of the values, above the lowest; samples
    are brought back, so that nobody else sees it: for images that are dark nearly everywhere, as fluorescence is.
    `spacing` is that of raw volumes which are prepared on first use, in mm: a number, "auto" (one for the whole set, by
    which the largest volume fits) or "none" (each fitted by its voxels; then nothing that is generated claims mm).
    """

    size: int = 28
    spatial_rank: int = 2
    channels: int = 1
    labelled: bool = False
    balanced: bool = False
    scaling: str = "auto"
    stretch: str = "none"
    normalise: str = "none"
    spacing: str = "auto"
    split: str = "train"
    holdout: str = ""
    group: str = ""
    source: str = "auto"
    resident_budget_gib: float = 2.0

    def __post_init__(self):
        positive("data", self, "size", "resident_budget_gib")
        at_most("data", self, size=16_384)
        require(self.spatial_rank in (2, 3), "data.spatial_rank", self.spatial_rank, "2 (images) or 3 (volumes)")
        require(1 <= self.channels <= 16, "data.channels", self.channels, "give 1 to 16")
        require(bool(self.split), "data.split", self.split, "name a split, e.g. train")
        known("data.source", self.source, "SOURCES", "auto")
        known("data.scaling", self.scaling, "POLICIES", "auto")
        known("data.stretch", self.stretch, "STRETCHES", "none")
        known("data.normalise", self.normalise, "NORMALISATIONS", "none")
        require(
            self.labelled or not self.balanced, "data.balanced", True, "needs labels: set config.data.labelled=True"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, `(*spatial, C)`."""
        return (self.size,) * self.spatial_rank + (self.channels,)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The run. An iteration is n_critic critic updates and one generator update; `batch_size` counts all devices;
    `accumulate` parts of a device's share of it go through the networks one after another, to save memory. `precision`
    "bfloat16" multiplies, and on accelerators keeps activations, in it; parameters, losses and penalties stay
    "float32". `reduce_dtype` "bfloat16" halves what gradients weigh on their way between devices, by rounding them
    there; the optimizer works in float32 (docs/scaling.md).

    `iterations` above 0 overrides `epochs`; both count from the beginning of the run. An epoch is as many reals shown
    to the critic as the dataset has. Intervals of 0 are off. `keep_checkpoints` 0 keeps all. `best_metric` is a
    training metric, judged by its mean over each epoch, or an evaluated one, judged when evaluated; without one the
    latest checkpoint is the best. `early_stopping_patience` counts epochs without a better value of it (0: never stops
    early). `steps_per_call` 0 runs as many iterations a dispatch as take ten seconds (at most 32; on CPU 8).
    `ema_halflife_images` counts generated images; `ema_rampup` shortens it early, to that share of the run so far.
    `checkpoint_every_minutes` counts the first process's time since the last checkpoint. `on_nan`: a loss or gradient
    that is not finite ends the run ("stop"), or sends it back ("rollback") to its last checkpoint that was due, or the
    best, else to its beginning, with other latents and with learning rates times `rollback_lr_factor`, at most
    `max_rollbacks` times.
    """

    batch_size: int = 64
    accumulate: int = 1
    epochs: float = 200.0
    iterations: int = 0
    precision: str = "float32"
    reduce_dtype: str = "float32"
    steps_per_call: int = 0
    ema_halflife_images: float = 10_000.0
    ema_rampup: float = 0.05
    log_every_iterations: int = 20
    sample_every_epochs: float = 5.0
    sample_every_iterations: int = 0
    checkpoint_every_epochs: float = 10.0
    checkpoint_every_iterations: int = 0
    checkpoint_every_minutes: float = 0.0
    keep_checkpoints: int = 5
    num_samples: int = 64
    best_metric: str = ""
    best_direction: str = "min"
    early_stopping_patience: int = 0
    on_nan: str = "stop"
    max_rollbacks: int = 3
    rollback_lr_factor: float = 0.5

    def __post_init__(self):
        positive(
            "train",
            self,
            "batch_size",
            "accumulate",
            "epochs",
            "log_every_iterations",
            "num_samples",
            "ema_halflife_images",
        )
        at_most("train", self, batch_size=1_000_000, steps_per_call=10_000, num_samples=100_000)
        not_negative(
            "train",
            self,
            "iterations",
            "steps_per_call",
            "sample_every_epochs",
            "sample_every_iterations",
            "checkpoint_every_epochs",
            "checkpoint_every_iterations",
            "checkpoint_every_minutes",
            "max_rollbacks",
            "keep_checkpoints",
            "early_stopping_patience",
            "ema_rampup",
        )
        known("train.precision", self.precision, "PRECISIONS")
        known("train.reduce_dtype", self.reduce_dtype, "PRECISIONS")
        one_of("train.on_nan", self.on_nan, ("stop", "rollback"))
        factor = self.rollback_lr_factor
        require(0 < factor <= 1, "train.rollback_lr_factor", factor, "give a value in (0, 1]")
        one_of("train.best_direction", self.best_direction, ("min", "max"))
        require(
            bool(self.best_metric) or not self.early_stopping_patience,
            "train.early_stopping_patience",
            self.early_stopping_patience,
            "needs a metric to watch: set config.train.best_metric",
        )


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Evaluation during training: which metrics (none: off), and every how many images shown to the critic.

    `inception_weights` is the file of FID's network; without it features are VGG16's and are called so.
    """

    metrics: tuple[str, ...] = ()
    every_images: int = 100_000
    num_samples: int = 1000
    inception_weights: str = ""

    def __post_init__(self):
        positive("evaluate", self, "every_images")
        require(self.num_samples > 1, "evaluate.num_samples", self.num_samples, "give 2 or more")
        at_most("evaluate", self, num_samples=1_000_000)
        for name in self.metrics:
            known("evaluate.metrics", name, "METRICS")


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything a run is made of. `seed` fixes initial weights, latents, augmentation and the order of samples."""

    seed: int = 0
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    critic: CriticConfig = dataclasses.field(default_factory=CriticConfig)
    growing: GrowingConfig = dataclasses.field(default_factory=GrowingConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)
    augment: Augmentation = dataclasses.field(default_factory=Augmentation)
    diffaugment: DiffAugmentation = dataclasses.field(default_factory=DiffAugmentation)

    def __post_init__(self):
        require(0 <= self.seed < 2**31, "seed", self.seed, "give 0 to 2**31 - 1")
        self.generator.check(self.data.shape)
        self.critic.check(self.data.shape)
        self._check_growing()
        self.augment.check(self.data.spatial_rank, self.data.channels)
        self.diffaugment.check(self.data.spatial_rank, self.data.channels, self.objective.loss)
        require(
            self.critic.conditioning == "none" or self.data.labelled,
            "critic.conditioning",
            self.critic.conditioning,
            "needs labelled data: set config.data.labelled=True, or config.critic.conditioning=none",
        )
        coupled = [name for name in ("generator", "critic") if getattr(self, name).norm == "batch"]
        require(
            self.train.accumulate == 1 or not coupled,
            "train.accumulate",
            self.train.accumulate,
            f"batch norm would see a part of the batch: choose another config.{(coupled or ['generator'])[0]}.norm",
        )
        require(
            self.train.accumulate == 1 or not self.objective.perceptual_weight,
            "train.accumulate",
            self.train.accumulate,
            "the perceptual loss compares whole batches: set config.objective.perceptual_weight=0",
        )
        for name, sizes in (
            ("train.batch_size", (self.train.batch_size,)),
            ("growing.batch_sizes", self.growing.batch_sizes),
        ):
            require(
                all(size % self.train.accumulate == 0 for size in sizes),
                "train.accumulate",
                self.train.accumulate,
                f"it must divide config.{name}={','.join(map(str, sizes))} (and a device's share of it)",
            )
        require(
            not self.objective.weight_clip or not self.critic.equalized,
            "objective.weight_clip",
            self.objective.weight_clip,
            "clips parameters that equalized layers scale down further, to nothing: set config.critic.equalized=False",
        )
        objective = self.objective.resolved()
        penalised = objective.penalty != "none" and objective.penalty_weight > 0
        if objective.loss == "wgan" and not (penalised or objective.weight_clip or self.critic.spectral):
            raise InputError(
                "config.objective.loss='wgan' needs a bounded critic: set config.objective.penalty=gp with a"
                " penalty_weight above 0, config.objective.weight_clip=0.01 or config.critic.spectral=True"
            )

    def _check_growing(self) -> None:
        networks = {"generator": self.generator, "critic": self.critic}
        grow = [name for name, settings in networks.items() if settings.grows]
        require(
            len(grow) != 1,
            f"{(grow or ['generator'])[0]}.network",
            "growing",
            "both networks grow, or neither: set config.generator.network and config.critic.network alike",
        )
        if grow:
            self.growing.check(self.data.size, (self.generator, self.critic))
            # VGG16 halves a side twice before the features that are compared.
            require(
                self.growing.start_side >= 4 or not self.objective.perceptual_weight,
                "growing.start_side",
                self.growing.start_side,
                "the perceptual loss needs images of 4 pixels a side: set 4, or config.objective.perceptual_weight=0",
            )

    def warnings(self) -> list[str]:
        """Combinations that run but that the literature advises against, each with its reason."""
        found = [*self.augment.warnings(), *self.diffaugment.warnings(self.augment, self.data.spatial_rank)]
        objective = self.objective.resolved()
        penalties = [name for name in (objective.penalty, "r1" * (objective.r1_weight > 0)) if name not in ("none", "")]
        if self.critic.norm == "batch" and penalties:
            found.append(
                f"config.critic.norm=batch with penalty={penalties[0]}: batch norm couples the samples of a batch,"
                " so the penalty no longer bounds each sample's gradient; layer, instance or none is better"
            )
        if self.critic.norm == "batch" and objective.loss == "wgan" and objective.weight_clip:
            found.append("config.critic.norm=batch: weight clipping also clips the norm's scales to the clip value")
        if objective.weight_clip and self.critic.spectral:
            found.append(
                "config.objective.weight_clip with config.critic.spectral=True bounds nothing: spectral norm divides"
                " what was clipped by its size; use one of the two"
            )
        if objective.loss == "relativistic" and not penalties and not objective.weight_clip:
            found.append(
                "config.objective.loss=relativistic without a penalty need not converge (Huang et al. 2024): R3GAN has"
                " config.objective.penalty=r1+r2 with penalty_weight=1 or so"
            )
        first = (1 - self.optimizer.beta2) ** -0.5
        if self.optimizer.name == "rmsprop" and first > 10.1:  # 0.99, PyTorch's own, is no surprise.
            found.append(
                f"config.optimizer.beta2={self.optimizer.beta2} with rmsprop: its mean square begins at 0, so the first"
                f" updates are up to {first:.0f} times the rate; 0.9 or 0.99 are usual"
            )
        if not penalties and objective.penalty_interval > 1:
            found.append("config.objective.penalty_interval has no effect: config.objective.penalty is none")
        if self.growing != GrowingConfig() and not self.generator.grows:
            found.append(
                "config.growing has no effect: the networks do not grow; set config.generator.network and"
                " config.critic.network to growing"
            )
        if self.data.labelled and self.critic.conditioning == "none" and not self.data.balanced:
            found.append("config.data.labelled=True but config.critic.conditioning=none: the labels are not used")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dicts, lists and scalars, for JSON; `from_dict` inverts it."""
        return plain(dataclasses.asdict(self))

    def fields(self) -> dict[str, Any]:
        """`{"train.batch_size": 64, ...}`."""
        sections = {name: value if isinstance(value, dict) else {"": value} for name, value in self.to_dict().items()}
        return {
            f"{name}.{field}".rstrip("."): value for name, fields in sections.items() for field, value in fields.items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Builds and validates a config from nested mappings, as `to_dict` gives them; what is missing is the default.

        Raises:
          InputError: an unknown field (with the nearest known one), a value of the wrong type, or one out of range.
        """
        return build(cls, legacy.present_values(values), "config")

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> Config:
        """The config that a run or a checkpoint recorded, perhaps under earlier names; raises as `from_dict`."""
        return cls.from_dict(legacy.present_fields(values))
