"""Precision: bfloat16 only where the device multiplies it itself."""

from pathlib import Path

import pytest

from deepfake_core.config import TrainConfig
from deepfake_core.model.devices import with_fit_precision

MILAN = "processor\t: 0\nflags\t\t: fpu sse4_2 avx2 vpclmulqdq\n"


@pytest.mark.parametrize(
    ("said", "precision"),
    [
        (MILAN, "float32"),
        ("flags\t\t: fpu avx512_bf16 amx_tile\n", "mixed_bfloat16"),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", "mixed_bfloat16"),
        ("Features\t: fp asimd bf16 i8mm\n", "mixed_bfloat16"),
        ("model name\t: bf16\n", "float32"),
        (None, "float32"),
    ],
)
def test_auto_is_what_the_processor_can_do(tmp_path: Path, said: str | None, precision: str):
    cpu_info = tmp_path / "cpuinfo"
    if said is not None:
        cpu_info.write_text(said)

    config = with_fit_precision(TrainConfig(precision="auto", device="cpu"), cpu_info=cpu_info)

    assert config.precision == precision


def test_what_was_asked_for_is_what_is_taken(tmp_path: Path):
    config = TrainConfig(precision="mixed_bfloat16", device="cpu")

    assert with_fit_precision(config, cpu_info=tmp_path / "none") is config
