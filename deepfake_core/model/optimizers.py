"""The optimizer of a training, with the schedule of its learning rate."""

from typing import Any

import keras

from deepfake_core.config import TrainConfig

UNDECAYED = ("gamma", "beta", "bias")
"""Scales and offsets, which weight decay would only pull away from where they belong."""


def build_optimizer(config: TrainConfig, *, steps: int) -> keras.Optimizer:
    """Return the optimizer.

    Args:
        config: ``optimizer``, ``learning_rate``, ``schedule``, ``warmup_epochs`` and Adam's values.
        steps: batches an epoch.
    """
    values: dict[str, Any] = {
        "learning_rate": learning_rate(config, steps=steps),
        "beta_1": config.beta_1,
        "beta_2": config.beta_2,
        "epsilon": config.epsilon,
    }
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(**values)
    else:
        optimizer = keras.optimizers.AdamW(weight_decay=config.weight_decay, **values)
        optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    if config.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def learning_rate(config: TrainConfig, *, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a constant, or a cosine to zero over all epochs after a linear warm-up.

    Args:
        config: ``learning_rate``, ``schedule``, ``epochs`` and ``warmup_epochs``.
        steps: batches an epoch.
    """
    if config.schedule == "constant":
        return config.learning_rate
    warmup = min(round(config.warmup_epochs * steps), config.epochs * steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / warmup if warmup else config.learning_rate,
        decay_steps=max(1, config.epochs * steps - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
