"""Heavy libraries are loaded by the modules that own them, and by nobody on the way there."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "torch", "mlflow", "great_expectations", "prefect", "onnxruntime", "cv2")
TRAINING = ("tensorflow", "keras", "torch", "mlflow", "great_expectations", "prefect", "sklearn", "tf2onnx")


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after ``code``."""
    script = f"{code}\nimport sys\nprint('LOADED', *sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


def test_help_loads_no_heavy_library():
    code = (
        "import sys\nsys.argv = ['deepfake', '--help']\nfrom deepfake_core.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )

    assert loaded_after(code).isdisjoint(HEAVY)


def test_the_guard_would_notice_a_heavy_import():
    assert "cv2" in loaded_after("import deepfake_core.faces.crop")


@pytest.mark.parametrize(
    "module",
    ["deepfake_core.serving.score", "deepfake_core.serving.session", "deepfake_core.data.extract", "deepfake_core"],
)
def test_scoring_and_extraction_need_no_training_library(module: str):
    assert loaded_after(f"import {module}").isdisjoint(TRAINING)


@pytest.mark.parametrize("module", ["deepfake_core.faces.workers", "deepfake_core.faces.stream"])
def test_a_worker_process_starts_light(module: str):
    assert loaded_after(f"import {module}").isdisjoint({*TRAINING, "pandas"})
