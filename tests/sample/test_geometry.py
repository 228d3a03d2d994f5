import numpy as np
import pytest

from deepfake_core.sample.geometry import HeadShape, Pose, cast, project

SHAPE = HeadShape(top=1.5, bottom=1.45, depth=1.1, jaw=0.05, crown=0.05)
POSES = {
    "frontal": Pose(224, 150, 75, 0.0, 0.0, 0.0),
    "turned": Pose(210, 160, 70, 0.3, -0.1, 0.05),
    "nodding": Pose(230, 150, 80, -0.2, 0.15, -0.08),
}


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
@pytest.mark.parametrize("point", [(0.4, 0.0), (-0.4, 0.0), (0.0, 0.85), (0.0, 0.5)])
def test_the_camera_sees_a_feature_where_it_is_projected(pose, point):
    x, y = project(SHAPE, pose, *point)

    surface = cast(SHAPE, pose, jaw_drop=0.0, width=448, height=336)

    column, row = round(x - 0.5) - surface.box.left, round(y - 0.5) - surface.box.top
    assert surface.x[row, column] == pytest.approx(point[0], abs=0.03)
    assert surface.y[row, column] == pytest.approx(point[1], abs=0.03)
    assert surface.edge[row, column] > 5


def test_a_turned_head_turns_its_features_but_stays_in_place():
    frontal, _ = project(SHAPE, Pose(224, 150, 75, 0.0, 0.0, 0.0), 0.0, 0.0)
    turned, _ = project(SHAPE, Pose(224, 150, 75, 0.3, 0.0, 0.0), 0.0, 0.0)

    assert frontal == pytest.approx(224)
    assert turned == pytest.approx(224 + 75 * 1.1 * np.sin(0.3), abs=0.1)


def test_an_open_jaw_lowers_the_chin_and_leaves_the_eyes():
    closed = cast(SHAPE, POSES["frontal"], jaw_drop=0.0, width=448, height=336)
    opened = cast(SHAPE, POSES["frontal"], jaw_drop=0.1, width=448, height=336)

    middle = 224 - closed.box.left
    assert (opened.edge[:, middle] > 0).sum() - (closed.edge[:, middle] > 0).sum() == pytest.approx(7.5, abs=1.5)
    eyes = 150 - closed.box.top
    assert opened.y[eyes, middle] == pytest.approx(closed.y[eyes, middle], abs=0.01)


def test_a_face_is_float32_all_the_way():
    surface = cast(SHAPE, POSES["turned"], jaw_drop=0.05, width=448, height=336)

    assert surface.x.dtype == surface.y.dtype == surface.edge.dtype == np.float32
