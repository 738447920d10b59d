# SPDX-License-Identifier: Apache-2.0
"""scripts.stability: attacks, noise, Jacobians and the solver's part, against what is known."""

import json
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import DEQ, HomoODE
from scripts.stability import __main__ as study
from scripts.stability import (
    answers,
    attacks,
    corruptions,
    fields,
    figure,
    jacobians,
    measure,
    members,
    solver_dependence,
    table,
)
from tests.layers.vector_fields import LinearDynamics

DOCS = pathlib.Path(__file__).parent.parent / "docs"
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
LABELS = np.arange(6) % 2


def flow(**settings):
    """Logits z(T) of z' = z + x, z(0) = 0, x the pixels of an image: (e^T - 1) x."""
    return types.SimpleNamespace(
        implicit=HomoODE(LinearDynamics(1.0), initial_point="zeros", **settings),
        condition=lambda images: tf.reshape(tf.cast(images, tf.float32), (-1, 64)) / 255.0,
        head=lambda state, training: state,
    )


@pytest.fixture(scope="module")
def linear():
    """Two classes whose logits differ by w·x + b."""
    weights = RANDOM.normal(size=64)
    weights[:8] = 0.0

    def classify(images):
        flat = tf.reshape(images, (tf.shape(images)[0], -1))
        margin = tf.linalg.matvec(flat, tf.constant(weights, images.dtype)) / 100.0
        return tf.stack([tf.zeros_like(margin), margin], axis=1)

    return weights, classify


@pytest.mark.parametrize("epsilon", [1.0, 40.0])
@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.pgd])
def test_of_a_linear_classifier_the_worst_image_is_known(linear, attack, epsilon):
    """Each pixel goes against its label as far as epsilon and 0..255 let it."""
    weights, classify = linear
    gradient = attacks.loss_gradient(classify)
    images = IMAGES.astype(np.float32)
    found = attacks.attacked(
        lambda *batch: attack(gradient, *batch, epsilon=epsilon), images, LABELS
    )
    towards = np.where(LABELS == 1, -1.0, 1.0)[:, np.newaxis] * np.sign(weights)
    flat = images.reshape(6, 64)
    worst = np.clip(flat + epsilon * towards, 0.0, 255.0)
    matters = weights != 0.0
    np.testing.assert_allclose(found.reshape(6, 64)[:, matters], worst[:, matters], atol=1e-4)
    assert np.abs(found.reshape(6, 64) - flat).max() <= epsilon + 1e-4
    assert found.min() >= 0.0 and found.max() <= 255.0


def test_attacks_have_the_exact_gradient_of_the_solve():
    classify = answers.classifier(flow(rtol=1e-5, atol=1e-5))
    images = tf.constant(IMAGES, tf.float32)
    gradient = attacks.loss_gradient(classify)(images, tf.constant(LABELS))
    logits = (np.e - 1.0) * IMAGES.reshape(6, 64) / 255.0
    by_logits = tf.nn.softmax(logits).numpy() - np.eye(64)[LABELS]
    wanted = by_logits * (np.e - 1.0) / 255.0
    np.testing.assert_allclose(gradient.numpy().reshape(6, 64), wanted, rtol=1e-3, atol=1e-8)


def test_an_answer_does_not_depend_on_batch_mates():
    model = flow()
    images = IMAGES.astype(np.float32)
    images[1:] *= 1000.0
    classify = answers.classifier(model)
    together = answers.logits_of(classify, images)
    others = np.concatenate([images[:1], np.zeros_like(images[1:])])
    np.testing.assert_array_equal(together[0], answers.logits_of(classify, others)[0])
    mates = model.implicit(model.condition(images)), model.implicit(model.condition(others))
    assert np.abs(mates[0][0] - mates[1][0]).max() > 0.0
    assert answers.accuracy(classify, images, np.argmax(together, axis=1)) == 1.0


def test_gaussian_noise_has_its_strength_and_stays_within_the_range():
    grey = np.full((20, 8, 8, 1), 128, np.uint8)
    noise = corruptions.gaussian(grey, 20.0) - grey
    assert noise.std() == pytest.approx(20.0, rel=0.05)
    noisy = corruptions.gaussian(IMAGES, 200.0)
    assert noisy.min() == 0.0 and noisy.max() == 255.0
    np.testing.assert_array_equal(noisy, corruptions.gaussian(IMAGES, 200.0))


@pytest.fixture
def library(monkeypatch):
    """A corruption that adds what NumPy's global generator draws, and shows what it was given."""
    seen = []

    def corrupt(image, severity, name, **own):
        seen.append((image.shape, severity, name, own))
        channels = np.repeat(image[..., :1], 3, axis=-1)
        return (channels // 2 + np.random.randint(0, 9, channels.shape)).astype(np.uint8)

    fake = types.SimpleNamespace(
        corrupt=corrupt,
        corruption_dict={"drawn": lambda x, severity: x, "seeded": lambda x, seed=None: x},
    )
    monkeypatch.setattr(corruptions, "_library", lambda: fake)
    return seen


def test_small_images_are_enlarged_for_the_library_and_keep_the_strength_of_noise(library):
    before = np.random.get_state()[1].copy()
    found = corruptions.corrupt(IMAGES, "drawn", 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert found.shape == IMAGES.shape and found.dtype == np.uint8
    assert library[0] == ((32, 32, 1), 3, "drawn", {})
    noise = found.astype(int) - IMAGES // 2
    # One draw a pixel, none averaged away.
    assert set(np.unique(noise)) == set(range(9))
    np.testing.assert_array_equal(found, corruptions.corrupt(IMAGES, "drawn", 3))


def test_a_corruption_with_a_seed_of_its_own_gets_one_for_each_image(library):
    corruptions.corrupt(IMAGES, "seeded", 1, seed=5)
    assert [own for *_, own in library] == [{"seed": 5 + k} for k in range(6)]


def test_the_usual_corruptions():
    pytest.importorskip("imagecorruptions")
    assert len(corruptions.names()) == 15
    for name in ("gaussian_noise", "glass_blur", "jpeg_compression"):
        found = corruptions.corrupt(IMAGES, name, 5)
        assert found.shape == IMAGES.shape and np.abs(found - IMAGES.astype(int)).mean() > 5.0
        np.testing.assert_array_equal(found, corruptions.corrupt(IMAGES, name, 5))


def test_the_largest_singular_value_is_numpys():
    matrix = RANDOM.normal(size=(5, 5))
    state = RANDOM.normal(size=(3, 5))
    found = jacobians.largest_singular_value(
        lambda z: tf.tanh(tf.linalg.matvec(tf.constant(matrix), z)), tf.constant(state), 200
    )
    slopes = 1.0 - np.tanh(state @ matrix.T) ** 2
    wanted = [np.linalg.norm(slope[:, np.newaxis] * matrix, 2) for slope in slopes]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    zero = jacobians.largest_singular_value(lambda z: 0.0 * z, tf.constant(state), 2)
    np.testing.assert_array_equal(zero, [0.0, 0.0, 0.0])


def test_fields_are_the_layers_own():
    model = flow(rtol=1e-6, atol=1e-6)
    condition = model.condition(IMAGES).numpy()
    (field, start), (_, end) = fields.along_the_way(model, IMAGES, (0.0, 1.0))
    np.testing.assert_allclose(field(start + 2.0), 2.0 + condition, rtol=1e-6)
    np.testing.assert_allclose(end, (np.e - 1.0) * condition, rtol=1e-4)
    rms = np.sqrt(np.mean(condition**2, axis=1))
    np.testing.assert_allclose(fields.residual(field, end, False), np.e * rms, rtol=1e-4)
    assert jacobians.along_the_way(model, IMAGES)["norm"] == pytest.approx([1.0] * 5, rel=1e-5)


def test_a_deq_is_judged_at_its_fixed_point():
    model = flow()
    model.implicit = DEQ(LinearDynamics(0.5), on_failure="return", max_num_iterations=200)
    condition = model.condition(IMAGES).numpy()
    ((field, state),) = fields.along_the_way(model, IMAGES, (0.0, 1.0))
    np.testing.assert_allclose(state, 2.0 * condition, rtol=0.05, atol=0.02)
    assert float(tf.reduce_max(fields.residual(field, state, True))) < 1e-2
    assert solver_dependence.by_time(model, IMAGES, LABELS) is None
    solver = answers.solver_of_each(model.implicit, rtol=1e-5)
    assert (solver.rtol, solver.max_num_iterations) == (1e-5, 200)


def test_closer_tolerances_come_nearer_for_more_evaluations(monkeypatch):
    monkeypatch.setattr(solver_dependence, "TOLERANCES", (1e-1, 1e-4))
    found = solver_dependence.by_tolerance(flow(solver="bosh3"), IMAGES, LABELS)
    assert found["distance"][1] < 1e-3 < found["distance"][0] < 1.0
    assert found["evaluations"][1] > found["evaluations"][0]
    assert all(0.0 <= share <= 1.0 for share in found["changed"])
    assert found["own"]["evaluations"] >= found["evaluations"][0]  # at 1e-3


def test_equal_steps_are_compared_with_the_solution_itself(monkeypatch):
    monkeypatch.setattr(solver_dependence, "TOLERANCES", (1e-1, 1e-4))
    found = solver_dependence.by_tolerance(flow(solver="heun", num_steps=2), IMAGES, LABELS)
    assert found["distance"][1] < 1e-4
    # Of z' = z + x with z(0) = 0: z(1) = (e - 1) x, and by two such steps 1.640625 x.
    assert found["own"]["distance"] == pytest.approx(1.0 - 1.640625 / (np.e - 1.0), rel=1e-3)
    assert found["own"]["evaluations"] == 4.0


def test_time_goes_on_beyond_training(monkeypatch):
    monkeypatch.setattr(solver_dependence, "TIMES", (2.0,))
    model, seen = flow(solver="rk4", num_steps=20), []
    model.head = lambda state, training: seen.append(state) or state
    monkeypatch.setattr(solver_dependence.tf, "function", lambda **_: lambda function: function)
    found = solver_dependence.by_time(model, IMAGES, np.argmax(IMAGES.reshape(6, 64), axis=1))
    np.testing.assert_allclose(seen[0], (np.e**2 - 1.0) * model.condition(IMAGES), rtol=1e-4)
    assert found == {"accuracy": [1.0], "evaluations": [160.0]}


def test_a_resnet_has_more_blocks_where_others_have_more_time(monkeypatch):
    monkeypatch.setattr(solver_dependence, "TIMES", (0.5, 2.0))
    model = flow(solver="euler", num_steps=3, final_time=3.0)
    found = solver_dependence.by_time(model, IMAGES, LABELS)
    assert found["evaluations"] == [2.0, 6.0]
    assert solver_dependence.by_tolerance(model, IMAGES, LABELS) is None


def run(folder, accuracy=None, failure=None, rate=1e-3, dataset="digits"):
    folder.mkdir(parents=True)
    config = {"dataset": dataset, "seed": 3, "optimizer": {"learning_rate": rate}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "data.json").write_text(json.dumps({"class_names": list("0123456789")}))
    if accuracy is not None:
        (folder / "result.json").write_text(json.dumps({"test_accuracy": accuracy}))
    if failure is not None:
        (folder / "failure.json").write_text(json.dumps({"failure": failure}))


def test_members_are_the_runs_that_came_to_an_end(tmp_path):
    run(tmp_path / "c" / "homoode_rate_1e-03" / "seed3", accuracy=0.9)
    run(tmp_path / "c" / "homoode_rate_1e-02" / "seed3", accuracy=0.1, rate=1e-2)
    run(tmp_path / "c" / "deq" / "seed3", failure="the loss is nan")
    run(tmp_path / "c" / "resnet" / "seed3")
    run(tmp_path / "alone", accuracy=0.8)
    found = {
        (m.name, m.rate): (m.accuracy, m.why)
        for m in members.find([tmp_path / "c", tmp_path / "alone"])
    }
    assert found.pop(("homoode", 1e-2)) == (0.1, "accuracy 10.0%: it learnt nothing")
    assert found.pop(("deq", 1e-3)) == (None, "the loss is nan")
    # The single run's layer is the default.
    assert found == {("homoode", 1e-3): (0.8, None)}
    with pytest.raises(InvalidValueError, match="no run that came to an end"):
        members.find([tmp_path / "nowhere"])
    run(tmp_path / "other", accuracy=0.8, dataset="mnist")
    with pytest.raises(InvalidValueError, match="of digits and mnist"):
        members.find([tmp_path / "alone", tmp_path / "other"])


def test_what_was_measured_is_kept_until_other_things_are_asked(tmp_path, monkeypatch):
    run(tmp_path / "alone", accuracy=0.8)
    (member,) = members.find([tmp_path / "alone"])
    opened = []
    monkeypatch.setattr(
        study,
        "open_run",
        lambda *_: types.SimpleNamespace(test=lambda n: opened.append(n) or (IMAGES, LABELS)),
    )
    monkeypatch.setattr(measure, "of_run", lambda run, settings, corrupted: settings.images)
    monkeypatch.setattr(study.growth, "over_training", lambda *_: "grown")
    for images in (5, 5, 7):
        one = study.Study(measure.Settings(images), None, tmp_path / "cache")
        assert one.of(member) == {"measured": images, "growth": "grown"}
    assert len(opened) == 2


def results():
    """What `stability.json` holds, of two members, the first with two seeds."""
    clean = {"clean": 0.9, "images": 10}
    one = {
        **clean,
        "gaussian": dict.fromkeys(map(str, measure.SIGMAS), 0.5),
        "corruptions": {"fog": [0.5] * 5, "snow": [0.7] * 5},
        **{attack: dict.fromkeys(map(str, measure.EPSILONS), 0.4) for attack in ("fgsm", "pgd")},
        "tolerance": {
            "changed": [0.1] * 5,
            "distance": [0.1] * 5,
            "own": {"changed": 0.2},
        },
        "time": {"accuracy": [0.2, 0.9, 0.8, 0.7]},
        "jacobian": {"norm": [2.0] * 5, "residual": [1.0] * 5},
    }
    deq = {**one, "time": None, "jacobian": {"norm": [3.0], "residual": [0.1]}}
    growth = {
        "steps": [1, 2],
        "evaluations": [7.0, 13.0],
        "residual_steps": [1, 2],
        "residuals": [0.5, 1.5],
    }
    training = [
        {"name": name, "rate": rate, "accuracy": accuracy, "why": None if accuracy else "diverged"}
        for name in ("homoode", "deq")
        for rate, accuracy in ((1e-3, 0.8), (1e-3, 0.9), (1e-2, None))
    ]
    return {
        "rate": 1e-3,
        "training": training,
        "members": {
            "homoode": [{"measured": one, "growth": growth}] * 2,
            "deq": [{"measured": deq, "growth": growth}],
        },
    }


def test_the_table_says_what_was_measured():
    lines = table.render(results()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    homoode, deq = (dict(zip(cells[0], row, strict=True)) for row in cells[2:])
    assert homoode["accuracy (%)"] == "85.0 ± 7.1" and homoode["failed runs"] == "1 of 3"
    assert homoode["15 corruptions"] == "60.0 ± 0.0"
    assert homoode["evaluations, first and last tenth"] == "7.0 → 13.0"
    assert homoode["residual, first and last"] == "0.5 → 1.5"
    assert homoode["at 0.5 T"] == "20.0 ± 0.0" and homoode["at 4 T"] == "70.0 ± 0.0"
    assert deq["at 2 T"] == "–" and deq["norm of the Jacobian at T"] == "3.0"  # noqa: RUF001


def test_the_figure_has_a_panel_for_each_question(tmp_path):
    figure.draw(tmp_path / "stability.png", results())
    assert (tmp_path / "stability.png").stat().st_size > 10_000


@pytest.mark.parametrize("study", sorted(p.name for p in (DOCS / "results").glob("stability*")))
def test_the_page_has_what_was_measured(study):
    measured = json.loads((DOCS / "results" / study / "stability.json").read_text("utf-8"))
    text = (DOCS / "stability.md").read_text(encoding="utf-8")
    assert table.render(measured) in text, "run `python -m scripts.stability` and take its table"
    assert f"results/{study}/stability.png" in text
