"""Arrangements at rest: the same for the same starts, on the plane, at rest, and no thing within another."""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial.transform import Rotation

from autosim.errors import UserError
from autosim.scenes.settle import Pose, Settler, hull, random_rotation, rotation_matrix, turned

Points = NDArray[np.float64]
TOLERANCE = 2e-3


def block(x: float, y: float, z: float) -> Points:
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    return np.asarray(corners * np.array([x, y, z]) / 2)


def wedge() -> Points:
    return np.array([[-0.05, -0.03, -0.03], [0.05, -0.03, -0.03], [0.0, 0.06, -0.03], [0.0, 0.0, 0.07]])


THINGS = [block(0.1, 0.08, 0.06), wedge(), block(0.05, 0.05, 0.15), wedge(), block(0.2, 0.1, 0.02)]


def dropped(seed: int) -> list[Pose]:
    rng = np.random.default_rng(seed)
    places = rng.uniform(-0.08, 0.08, (len(THINGS), 2))
    return [Pose((float(x), float(y), 0.15 + 0.2 * i), random_rotation(rng)) for i, (x, y) in enumerate(places)]


def pressed(a: Points, b: Points) -> float:
    """How deep two hulls lie within each other: 0 where a plane lies between them, else the least depth along an axis
    of the largest component 1, which is found for every such axis by a linear programme.
    """
    best = np.inf
    for axis in range(3):
        for sign in (-1.0, 1.0):
            # Find n with n[axis] = sign, |n| <= 1 and the largest m: n·a >= t + m for all a, n·b <= t - m for all b.
            rows = np.block([[-a, np.ones((len(a), 1)), np.ones((len(a), 1))]])
            others = np.block([[b, -np.ones((len(b), 1)), np.ones((len(b), 1))]])
            bounds: list[tuple[float | None, float | None]] = [(-1.0, 1.0)] * 3 + [(None, None)] * 2
            bounds[axis] = (sign, sign)
            upper = np.zeros(len(a) + len(b))
            found = linprog([0, 0, 0, 0, -1], A_ub=np.vstack([rows, others]), b_ub=upper, bounds=bounds)
            best = min(best, -2 * found.x[4])
    return max(0.0, float(best))


@pytest.fixture(scope="module")
def settler() -> Settler:
    return Settler(THINGS)


def test_pressed_measures_depth() -> None:
    cube = block(0.1, 0.1, 0.1)
    assert pressed(cube, cube + np.array([0.2, 0.0, 0.0])) == 0
    assert pressed(cube, cube + np.array([0.09, 0.0, 0.0])) == pytest.approx(0.01)


def test_equal_starts_give_equal_poses_whatever_fell_before(settler: Settler) -> None:
    first = settler.settle(dropped(1))
    settler.settle(dropped(2))
    assert first is not None and settler.settle(dropped(1)) == first
    assert Settler(THINGS).settle(dropped(1)) == first


@pytest.mark.parametrize("seed", range(4))
def test_what_has_come_to_rest_rests_on_something_and_in_nothing(settler: Settler, seed: int) -> None:
    poses = settler.settle(dropped(seed))
    assert poses is not None
    lying = [pose.apply(thing) for pose, thing in zip(poses, THINGS, strict=True)]
    lowest = [float(points[:, 2].min()) for points in lying]
    assert min(lowest) > -TOLERANCE and min(lowest) < TOLERANCE
    assert all(pressed(a, b) < TOLERANCE for a, b in combinations(lying, 2))
    # At rest: dropped again from where they lie, they stay.
    again = settler.settle(poses)
    assert again is not None
    for before, after in zip(poses, again, strict=True):
        np.testing.assert_allclose(after.place, before.place, atol=TOLERANCE)
        between = np.abs(np.dot(after.rotation, before.rotation))
        assert 2 * np.arccos(min(1.0, between)) < 0.05


def test_still_things_do_not_move_and_bear_others() -> None:
    table, cube = block(0.3, 0.3, 0.1), block(0.06, 0.06, 0.06)
    found = Settler([cube], [table]).settle([Pose((0.0, 0.0, 0.3))], [Pose((0.0, 0.0, 0.05))])
    assert found is not None and found[0].place[2] == pytest.approx(0.13, abs=TOLERANCE)


def test_what_does_not_come_to_rest_in_time_has_no_poses(settler: Settler) -> None:
    assert settler.settle([Pose((0.0, 0.0, 5.0 + i)) for i in range(len(THINGS))], seconds=0.4) is None


def test_numbers_of_poses_are_checked(settler: Settler) -> None:
    with pytest.raises(ValueError, match="1 starts and 0 still poses for 5 bodies"):
        settler.settle([Pose((0.0, 0.0, 1.0))])


def test_without_mujoco_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"pip install mujoco$"):
        Settler(THINGS)


def test_a_hull_keeps_its_corners_and_needs_a_volume() -> None:
    inner = np.concatenate([block(1, 1, 1), np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))])
    assert {tuple(corner) for corner in hull(inner)} == {tuple(corner) for corner in block(1, 1, 1)}
    ball = np.random.default_rng(0).standard_normal((2000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    assert len(hull(ball, most=50)) == 50
    with pytest.raises(ValueError, match="no volume"):
        hull(np.zeros((5, 3)))


angles = st.floats(-7.0, 7.0)
quaternions = st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(quaternions)
@settings(max_examples=50)
def test_rotations_are_those_of_scipy(quaternion: tuple[float, float, float, float]) -> None:
    w, x, y, z = quaternion
    np.testing.assert_allclose(rotation_matrix(quaternion), Rotation.from_quat([x, y, z, w]).as_matrix(), atol=1e-12)


@given(quaternions, angles)
@settings(max_examples=50)
def test_a_turned_pose_turns_every_point(quaternion: tuple[float, float, float, float], angle: float) -> None:
    pose = Pose((0.3, -0.2, 0.1), quaternion)
    expected = pose.apply(THINGS[1]) @ Rotation.from_euler("z", angle).as_matrix().T
    np.testing.assert_allclose(turned(pose, angle).apply(THINGS[1]), expected, atol=1e-9)
