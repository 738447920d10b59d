# SPDX-License-Identifier: Apache-2.0
"""docs/two_sides.md: the ways end where it says, and its numbers are those that were measured."""

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from scripts.two_sides import figures, learned, measure, page
from scripts.two_sides.problem import START, draw_conditions, sharp_map, small_map
from scripts.two_sides.ways import WAYS, by_flow, by_homotopy, by_iteration

DOCS = pathlib.Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "results" / "two_sides"
TOLERANCE = 1e-8


@pytest.fixture(scope="module")
def numbers():
    return json.loads((RESULTS / "two_sides.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sharp_path():
    return by_homotopy(sharp_map(), np.array(START), 1e-6, "fixed_point")


def test_the_map_contracts_by_its_factor():
    g = small_map()
    assert np.linalg.norm(g.matrix, 2) == pytest.approx(0.95, rel=1e-12)
    z, y = tf.constant(np.random.default_rng(0).normal(size=(2, 1000, 2)))
    ratios = tf.norm(g(z) - g(y), axis=1) / tf.norm(z - y, axis=1)
    assert 0.5 < float(tf.reduce_max(ratios)) <= 0.95


def test_the_jacobian_is_the_derivative():
    g, z = small_map(), np.array([0.3, -0.7])
    with tf.GradientTape() as tape:
        state = tf.constant(z)
        tape.watch(state)
        image = g(state)
    np.testing.assert_allclose(g.jacobian(z), tape.jacobian(image, state), rtol=1e-12)


@pytest.mark.parametrize("name", WAYS)
def test_ways_end_at_the_equilibrium(name):
    g = small_map()
    way = WAYS[name](g, np.array(START), TOLERANCE)
    assert way.arrived
    # |z - z*| <= |g(z) - z| / (1 - 0.95) for a contraction, and |.| = sqrt(2) rms in the plane.
    assert way.distance(g.equilibrium()) <= np.sqrt(2.0) * TOLERANCE / 0.05
    np.testing.assert_array_equal(way.curve[0], START)
    np.testing.assert_array_equal(way.points[0], START)
    assert way.length >= np.linalg.norm(g.equilibrium() - START) - 1e-6


def test_the_sharp_homotopy_path_turns_and_arrives(sharp_path):
    assert sharp_path.arrived and sharp_path.distance(sharp_map().equilibrium()) < 1e-6
    turns = sharp_path.parameters[measure.turning_points(sharp_path)]
    assert turns.shape == (2,) and turns[1] < turns[0] - 0.05


def test_the_sharp_equilibrium_repels():
    g, start = sharp_map(), np.array(START)
    eigenvalues = np.linalg.eigvals(g.jacobian(g.equilibrium()))
    assert eigenvalues.real.min() > 1.0
    for way in (by_flow(g, start, 1e-6, longest=30.0), by_iteration(g, start, 1e-6, "damped")):
        assert not way.arrived and way.distance(g.equilibrium()) > 0.5


def test_conditions_are_from_their_square():
    x = draw_conditions(1000, seed=0)
    assert (x.min(axis=0) >= [-0.5, -1.0]).all() and (x.max(axis=0) <= [1.0, 0.5]).all()
    assert (np.ptp(x, axis=0) > 1.4).all()


def test_the_page_has_the_measured_numbers(numbers):
    text = (DOCS / "two_sides.md").read_text(encoding="utf-8")
    assert text == page.render(numbers), "run `python -m scripts.two_sides`"


def test_the_pictures_are_there_and_small():
    text = (DOCS / "two_sides.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 4
    assert all(0 < (DOCS / picture).stat().st_size < 150_000 for picture in pictures)


def test_the_numbers_are_of_this_equation(numbers):
    measured = json.loads(json.dumps(measure.problem(small_map())))
    assert measured.keys() == numbers["problem"].keys()
    for key in ("factor", "angle", "condition", "start"):
        assert measured[key] == numbers["problem"][key]
    np.testing.assert_allclose(measured["equilibrium"], numbers["problem"]["equilibrium"])
    cost = numbers["ways"]["1e-08"]["Anderson"]
    way = by_iteration(small_map(), np.array(START), 1e-8, "anderson")
    assert abs(way.evaluations - cost["evaluations"]) <= 1


def test_what_the_page_says_in_words(numbers):
    ways, homoode, sharp = numbers["ways"]["1e-08"], numbers["homoode"], numbers["sharp"]
    assert min(ways, key=lambda name: ways[name]["work"]) == "Anderson"
    assert max(ways, key=lambda name: ways[name]["work"]) == "flow z' = g - z"
    assert {name for name, way in sharp["ways"].items() if way["arrived"]} == {
        "fixed-point homotopy",
        "Broyden",
    }
    assert sorted(ways, key=lambda name: ways[name]["length"])[:2] == [
        "Newton homotopy",
        "fixed-point homotopy",
    ]
    assert len(sharp["turns"]) == 2 and sharp["eigenvalue"][0] > 1.0
    assert homoode["held_out"]["mean"] < 0.02 < homoode["held_out"]["mean_at_time_2"]
    rivals = {name: mean for name, mean in homoode["rivals"].items() if name != "number"}
    assert min(rivals.values()) < homoode["held_out"]["evaluations"]
    np.testing.assert_allclose(numbers["conv_dynamics_speed"], 1.0, atol=1e-4)


@pytest.mark.slow
def test_homoode_learns_where_the_equilibria_are(tmp_path, sharp_path):
    g = small_map()
    layer = learned.train(g.factor, epochs=4)
    own = learned.in_float64(layer)
    conditions, equilibria = learned.held_out(g.factor, number=64)
    errors = learned.errors(own, conditions, equilibria)
    start = own.initial_point(tf.zeros([1, 2], tf.float64)).numpy()[0]
    assert errors.mean() < 0.2 * np.linalg.norm(start - equilibria, axis=1).mean()
    mean = equilibria.mean(axis=0)
    assert np.linalg.norm(start - mean) < 0.5 * np.linalg.norm(learned.FIRST_START - mean)
    solve = learned.follow_one(own, g.condition)
    assert solve.num_evaluations == measure.evaluations_alone(own, g.condition[np.newaxis])
    rivals = measure.rivals(g, start, errors, conditions, equilibria)
    assert rivals["anderson"] < rivals["damped"]
    ways = {name: by_iteration(g, np.array(START), 1e-3, "anderson") for name in WAYS}
    figures.ways(tmp_path / "ways.png", ways, solve.curve, solve.steps, g.equilibrium())
    figures.conditions(tmp_path / "conditions.png", solve.curve, g.equilibrium()[np.newaxis])
    figures.work(tmp_path / "work.png", {"HomoODE": [(7, 1e-2), (13, 1e-3)]}, (1e-2, 1e-3))
    turns = measure.turning_points(sharp_path)
    sharp_ways = {**ways, "fixed-point homotopy": sharp_path}
    figures.turning(tmp_path / "turning.png", sharp_ways, turns, sharp_map().equilibrium())
    assert len(list(tmp_path.glob("*.png"))) == 4
