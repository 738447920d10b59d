# SPDX-License-Identifier: Apache-2.0
"""A latent ODE reads noisy spirals at irregular times, each spiral at its own, and goes on.

    python -m examples.latent_ode [--epochs 120] [--picture latent_ode.png]

A GRU reads the first half of a sequence backwards, the times beside the values, and says where a
hidden state starts; a `NeuralODE` carries it to all times of this sequence (step_control="sample");
a linear layer reads the point off it. Beside it two GRUs: one that knows no times, and one that is
told them. Latent ODEs (here not variational): https://arxiv.org/abs/1907.03907
"""

import argparse
import pathlib

import keras
import numpy as np

from homoode_tf.layers import DenseDynamics, NeuralODE
from homoode_tf.report import style

NUMBER, READ, END, NOISE = 40, 20, 6.0, 0.05
GRID = np.linspace(0.0, 1.5 * END, NUMBER)  # beyond all that is seen in training
KINDS = {"latent ODE": style.RED, "GRU with times": style.GREEN, "GRU without times": style.GREY}


def spirals(count: int, seed: int, grid: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Times of each spiral's own (or a grid), what is observed there, and the truth."""
    random = np.random.default_rng(seed)
    turn = np.where(np.arange(count) % 2, 1.2, -1.2)[:, np.newaxis]
    angle = random.uniform(0, 2 * np.pi, (count, 1))
    radius = random.uniform(0.8, 1.6, (count, 1))
    times = np.sort(random.uniform(0.0, END, (count, NUMBER)), axis=1)
    times = times if grid is None else np.tile(grid, (count, 1))
    angle, radius = angle + turn * times, radius * np.exp(-0.15 * times)
    truth = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    noisy = truth + random.normal(0.0, NOISE, truth.shape)
    return tuple(array.astype(np.float32) for array in (times, noisy, truth))


def build(kind: str, units: int = 64) -> keras.Model:
    """From what is read, when that was, and the times asked for, to the points there."""
    values, read = keras.Input((READ, 2)), keras.Input((READ, 1))
    asked = keras.Input((NUMBER,))
    with_times = keras.layers.Concatenate()([values, read])
    sequence = values if kind == "GRU without times" else with_times
    code = keras.layers.GRU(units, go_backwards=True)(sequence)
    if kind == "latent ODE":
        start = keras.layers.Dense(6)(code)
        field = DenseDynamics(6, hidden_units=units)
        layer = NeuralODE(field, "bosh3", 1e-2, 1e-2, step_control="sample", gradient="backprop")
        way = layer(start, times=asked)
    else:
        way = keras.layers.RepeatVector(NUMBER)(code)
        if kind == "GRU with times":
            way = keras.layers.Concatenate()([way, asked[..., np.newaxis]])
        way = keras.layers.GRU(units, return_sequences=True)(way)
    return keras.Model([values, read, asked], keras.layers.Dense(2)(way))


def error(points: np.ndarray, truth: np.ndarray) -> float:
    """The root mean square distance."""
    return float(np.sqrt(np.mean(np.sum((points - truth) ** 2, axis=-1))))


def main(arguments: list[str] | None = None) -> float:
    """Trains all three, draws, and returns the latent ODE's error where it goes on."""
    parser = argparse.ArgumentParser(prog="python -m examples.latent_ode")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    times, noisy, _ = spirals(200, seed=0)
    new_times, new_noisy, truth = spirals(100, seed=1)
    read = [new_noisy[:, :READ], new_times[:, :READ, np.newaxis]]

    errors, models = {}, {}
    for kind in KINDS:
        keras.utils.set_random_seed(0)
        model = models[kind] = build(kind)
        rate = keras.optimizers.schedules.CosineDecay(0.01, 4 * options.epochs)
        model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mean_squared_error")
        known = [noisy[:, :READ], times[:, :READ, np.newaxis], times]
        model.fit(known, noisy, batch_size=50, epochs=options.epochs, verbose=0)
        points = model.predict([*read, new_times], batch_size=100, verbose=0)
        errors[kind] = [error(points[:, n], truth[:, n]) for n in range(NUMBER)]
        within = error(points[:, :READ], truth[:, :READ])
        after = error(points[:, READ:], truth[:, READ:])
        print(f"{kind}: error {within:.3f} within what was read, {after:.3f} after it")

    grid, _, exact = spirals(100, 1, GRID)
    whole = models["latent ODE"].predict([*read, grid], batch_size=100, verbose=0)
    later = error(whole[:, GRID > END], exact[:, GRID > END])
    print(f"latent ODE: error {later:.3f} beyond all times of training")
    if options.picture:
        draw(options.picture, new_noisy, exact, whole, errors)
    return after


def draw(file, noisy: np.ndarray, exact: np.ndarray, whole: np.ndarray, errors: dict) -> None:
    """Draws two spirals as the latent ODE goes on with them, and the errors of all three."""
    with style.figure(file, 9, 3.6) as figure:
        *axes, right = figure.subplots(1, 3)
        for number, axis, title in zip(
            (0, 1), axes, ("Clockwise", "Counterclockwise"), strict=True
        ):
            axis.plot(*exact[number].T, color=style.BLUE, lw=1, label="truth")
            axis.plot(*noisy[number, :READ].T, ".", color="black", ms=5, label="read")
            axis.plot(*whole[number].T, "--", color=style.RED, lw=1.5, label="latent ODE")
            axis.set(xlabel="$x$", ylabel="$y$", title=title, aspect="equal")
        style.legend_above(axes[0])
        for kind, values in errors.items():
            right.plot(np.arange(1, NUMBER + 1), values, color=KINDS[kind], label=kind)
        right.axvline(READ + 0.5, color="black", lw=0.8, ls=":")
        right.set(xlabel="observation (20 are read)", ylabel="error", title="100 new spirals")
        right.set_ylim(0, 0.45)
        right.legend()


if __name__ == "__main__":
    main()
