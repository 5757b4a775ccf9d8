from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kansci.errors import ConfigError, DataError, DtypeError, KansciError, ShapeError
from kansci.jets import Jet, jet
from kansci.solvers.residual import Residual

X = torch.linspace(0, 1, 6, dtype=torch.float64).reshape(3, 2)


def value(jet, *_):
    return jet.value[:, 0]


def lifted(x: Tensor = X) -> Jet:
    return jet(lambda z: z.sum(-1), x, "value")


def test_function_gets_the_jet_and_the_points():
    term = Residual(lambda jet, x: jet.value[:, 0] - x[:, 0], X)
    assert torch.equal(term([lifted()]), X[:, 1:])
    assert (term.size, term.point_sets, term.target_sets) == (3, (X,), ())


def test_targets_and_parameters_come_last():
    seen: list[Any] = []

    def function(*arguments):
        seen.append(arguments)
        return arguments[0].value

    targets, parameters = torch.ones(3, 4), {"a": torch.tensor(1.0)}
    Residual(function, X, targets=targets)([lifted()])
    Residual(function, X)([lifted()], parameters)
    Residual(function, X, targets=targets)([lifted()], parameters)
    assert [len(arguments) for arguments in seen] == [3, 3, 4]
    assert seen[0][2] is seen[2][2] is targets
    assert seen[1][2] is seen[2][3] is parameters


def test_tuples_of_points_go_with_tuples_of_jets():
    term = Residual(lambda jets, x, t: jets[0].value - jets[1].value + x[0][:, :1] + t[1], (X, X + 1), targets=(X, X))
    found = term([lifted(), lifted(X + 1)])
    assert torch.allclose(found, X[:, :1] + X - 2)
    assert found.shape == (3, 2)
    assert len(term.point_sets) == len(term.target_sets) == 2


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 5)])
def test_one_or_several_residuals_for_each_point(shape):
    assert Residual(lambda jet, x: torch.zeros(shape), X)([lifted()]).shape == (3, *shape[1:], *[1] * (len(shape) == 1))


@pytest.mark.parametrize(
    "result", [torch.zeros(()), torch.zeros(2), torch.zeros(3, 1, 1), torch.zeros(1, 3), 0.0, None]
)
def test_other_results_are_refused(result, unchecked):
    with pytest.raises(ShapeError, match=r"residual 'wall': expected its function to return \(3,\) or \(3, r\), got"):
        Residual(lambda jet, x: result, X, name="wall")([lifted()])


@pytest.mark.parametrize(
    "weight", [0.0, 2, 1.5, torch.tensor(2.0), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0, 1, 2])]
)
@pytest.mark.parametrize("noise", [None, 0.1, torch.tensor([1.0, 2.0, 3.0])])
def test_good_weights_and_noise_are_kept(weight, noise, unchecked):
    term = Residual(value, X, weight=weight, noise=noise)
    assert term.weight is weight
    assert term.noise is noise


NAN_ROW = torch.tensor([[0, 0], [0, torch.nan], [0, torch.inf]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"points": X[:, 0]}, ShapeError, r"residual: expected points .* \(n, d\), got shape \(3,\); put one point"),
        ({"points": X[None]}, ShapeError, r"got shape \(1, 3, 2\)"),
        ({"points": X.numpy()}, ShapeError, "got ndarray"),
        ({"points": [X, X]}, ShapeError, "got list"),
        ({"points": ()}, DataError, "expected points, got an empty tuple"),
        ({"points": X[:0]}, DataError, "points: expected at least one row, got none"),
        ({"points": X.long()}, DtypeError, "float dtype, got torch.int64"),
        ({"points": NAN_ROW}, DataError, "points: expected finite .* in 2 rows: 1, 2"),
        ({"points": (X, X[:2])}, ShapeError, r"equal length, got \[3, 2\]"),
        ({"targets": torch.zeros(2)}, ShapeError, r"equal length, got \[3, 2\]"),
        ({"targets": torch.zeros(())}, ShapeError, r"targets of shape \(n, ...\) .* got shape \(\)"),
        ({"targets": np.zeros(3)}, ShapeError, "targets .* got ndarray"),
        ({"targets": (torch.zeros(3), torch.full((3,), torch.nan))}, DataError, "targets: .* in 3 rows: 0, 1, 2"),
        ({"weight": torch.ones(2)}, ShapeError, r"equal length, got \[3, 2\]"),
        ({"weight": torch.ones(3, 1)}, ConfigError, r"weight to be one number or \(n,\)"),
        ({"weight": -1.0}, ConfigError, "weight .* not negative, got -1.0"),
        ({"weight": torch.nan}, ConfigError, "weight .* got nan"),
        ({"weight": torch.tensor([1, -1, 1])}, ConfigError, "not negative"),
        ({"weight": "heavy"}, ConfigError, "got 'heavy'"),
        ({"noise": torch.ones(4)}, ShapeError, r"equal length, got \[3, 4\]"),
        ({"noise": 0.0}, ConfigError, "noise above 0"),
        ({"noise": -1.0}, ConfigError, "noise .* not negative"),
        ({"needs": "curl"}, ConfigError, "expected needs to be one of .* got 'curl'"),
        ({"weight": -1.0, "name": "wall"}, ConfigError, "residual 'wall': expected weight"),
    ],
)
def test_what_does_not_fit_together_is_refused(options, error, message, unchecked):
    with pytest.raises(error, match=message) as caught:
        Residual(**{"function": value, "points": X, **options})
    assert isinstance(caught.value, KansciError)
