# SPDX-License-Identifier: Apache-2.0
"""The coefficients of the methods, each with its source."""

from typing import Any

import keras

from homoode_tf import identifiers
from homoode_tf.solvers.ode.tableau import ButcherTableau

EULER = ButcherTableau(
    name="euler",
    order=1,
    a=(),
    b=(1.0,),
    reference="Euler (1768), Institutionum calculi integralis I",
)

MIDPOINT = ButcherTableau(
    name="midpoint",
    order=2,
    a=((1 / 2,),),
    b=(0.0, 1.0),
    reference="Runge (1895), doi:10.1007/BF01446807",
)

HEUN = ButcherTableau(
    name="heun",
    order=2,
    a=((1.0,),),
    b=(1 / 2, 1 / 2),
    reference="Heun (1900), Z. Math. Phys. 45",
)

RK4 = ButcherTableau(
    name="rk4",
    order=4,
    a=((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    reference="Kutta (1901), Z. Math. Phys. 46",
)

HEUN_EULER = ButcherTableau(
    name="heun_euler",
    order=2,
    a=((1.0,),),
    b=(1 / 2, 1 / 2),
    error=((-1 / 2, 1 / 2),),
    error_order=1,
    reference="Heun's method with Euler's embedded in it",
)

BOGACKI_SHAMPINE = ButcherTableau(
    name="bosh3",
    order=3,
    a=((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    error=((2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),),
    error_order=2,
    reference="Bogacki and Shampine (1989), doi:10.1016/0893-9659(89)90079-7",
)

DORMAND_PRINCE = ButcherTableau(
    name="dopri5",
    order=5,
    a=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    error=((71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),),
    error_order=4,
    interpolation=(
        (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
        (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
        (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
        (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
        (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
    ),
    reference="Dormand and Prince (1980), doi:10.1016/0771-050X(80)90013-3; "
    "Shampine (1986), doi:10.2307/2008219",
)


def _polynomial(scale: float, shift: float, linear: float, constant: float):
    """Coefficients of scale * theta^2 * (theta^2 + linear theta + constant), plus shift * theta."""
    return (shift, scale * constant, scale * linear, scale)


def _roots(scale: float, first: float, second: float):
    """Coefficients of scale * theta^2 * (theta - first) * (theta - second)."""
    return _polynomial(scale, 0.0, -(first + second), first * second)


_TSIT5_W1 = (-1.0530884977290216, 1.3299890189751412, -1.4364028541716351, 0.7139816917074209)

# fmt: off
TSITOURAS = ButcherTableau(
    name="tsit5",
    order=5,
    a=(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401,
         -0.028269050394068383),
        (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
         2.324710524099774),
    ),
    b=(
        0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
        2.324710524099774, 0.0
    ),
    error=(
        (-0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995,
         -0.1447110071732629, 0.5823571654525552, -0.45808210592918697, 1 / 66),
    ),
    error_order=4,
    interpolation=(
        (
            -_TSIT5_W1[0] * _TSIT5_W1[1] * _TSIT5_W1[3],
            _TSIT5_W1[0] * (_TSIT5_W1[3] - _TSIT5_W1[1] * _TSIT5_W1[2]),
            _TSIT5_W1[0] * (_TSIT5_W1[2] - _TSIT5_W1[1]),
            _TSIT5_W1[0],
        ),
        _polynomial(0.1017, 0.0, -2.1966568338249754, 1.2949852507374631),
        _polynomial(2.490627285651252793, 0.0, -2.38535645472061657, 1.57803468208092486),
        _roots(-16.54810288924490272, 1.21712927295533244, 0.61620406037800089),
        _roots(47.37952196281928122, 1.203071208372362603, 0.658047292653547382),
        _roots(-34.87065786149660974, 1.2, 2 / 3),
        _roots(2.5, 1.0, 0.6),
    ),
    reference="Tsitouras (2011), doi:10.1016/j.camwa.2011.06.002",
)

DORMAND_PRINCE_8 = ButcherTableau(
    name="dop853",
    order=8,
    a=(
        (0.05260015195876773,),
        (0.0197250569845379, 0.0591751709536137),
        (0.02958758547680685, 0.0, 0.08876275643042054),
        (0.2413651341592667, 0.0, -0.8845494793282861, 0.924834003261792),
        (0.037037037037037035, 0.0, 0.0, 0.17082860872947386, 0.12546768756682242),
        (0.037109375, 0.0, 0.0, 0.17025221101954405, 0.06021653898045596, -0.017578125),
        (0.03709200011850479, 0.0, 0.0, 0.17038392571223998, 0.10726203044637328,
         -0.015319437748624402, 0.008273789163814023),
        (0.6241109587160757, 0.0, 0.0, -3.3608926294469414, -0.868219346841726,
         27.59209969944671, 20.154067550477894, -43.48988418106996),
        (0.47766253643826434, 0.0, 0.0, -2.4881146199716677, -0.590290826836843,
         21.230051448181193, 15.279233632882423, -33.28821096898486, -0.020331201708508627),
        (-0.9371424300859873, 0.0, 0.0, 5.186372428844064, 1.0914373489967295,
         -8.149787010746927, -18.52006565999696, 22.739487099350505, 2.4936055526796523,
         -3.0467644718982196),
        (2.273310147516538, 0.0, 0.0, -10.53449546673725, -2.0008720582248625,
         -17.9589318631188, 27.94888452941996, -2.8589982771350235, -8.87285693353063,
         12.360567175794303, 0.6433927460157636),
    ),
    b=(
        0.054293734116568765, 0.0, 0.0, 0.0, 0.0, 4.450312892752409, 1.8915178993145003,
        -5.801203960010585, 0.3111643669578199, -0.1521609496625161, 0.20136540080403034,
        0.04471061572777259
    ),
    error=(
        (0.01312004499419488, 0.0, 0.0, 0.0, 0.0, -1.2251564463762044, -0.4957589496572502,
         1.6643771824549864, -0.35032884874997366, 0.3341791187130175, 0.08192320648511571,
         -0.022355307863886294),
        (-0.18980075407240762, 0.0, 0.0, 0.0, 0.0, 4.450312892752409, 1.8915178993145003,
         -5.801203960010585, -0.4226823213237919, -0.1521609496625161, 0.20136540080403034,
         0.02265179219836082),
    ),
    error_order=7,
    error_row_orders=(5, 3),
    dense=False,
    reference="Prince and Dormand (1981), doi:10.1016/0771-050X(81)90010-3; DOP853 of Hairer, "
    "Norsett and Wanner, Solving Ordinary Differential Equations I, II.5 and II.10",
)
# fmt: on

BY_NAME = {
    tableau.name: tableau
    for tableau in (
        EULER,
        MIDPOINT,
        HEUN,
        RK4,
        HEUN_EULER,
        BOGACKI_SHAMPINE,
        DORMAND_PRINCE,
        TSITOURAS,
        DORMAND_PRINCE_8,
    )
}


def get(identifier: Any) -> ButcherTableau:
    """Returns a tableau from its name, its saved description, or itself.

    Raises:
      ValueError: If it is none of these.
    """
    by_name = {name: lambda name=name: BY_NAME[name] for name in BY_NAME}
    return identifiers.resolve("tableau", identifier, ButcherTableau, by_name)


def serialize(tableau: ButcherTableau) -> str | dict[str, Any]:
    """Returns the name of a tableau of this module, and the coefficients of any other."""
    if BY_NAME.get(tableau.name) is tableau:
        return tableau.name
    return keras.saving.serialize_keras_object(tableau)
