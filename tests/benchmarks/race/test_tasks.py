import math

import pytest
import torch
from torch import nn

import kansci as ks
from tests.benchmarks.contenders import count_parameters, equal_width
from tests.benchmarks.race.tasks import TASKS, Equation, Network, Regression

by_name = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
EQUATIONS = [task for task in TASKS if isinstance(task, Equation)]


class Exact(nn.Module):
    """The solution in the place of a network."""

    def __init__(self, task, factor=1.0):
        super().__init__()
        self.task, self.factor = task, factor

    def forward(self, x):
        return self.factor * self.task.exact(x)[:, None]


@by_name
def test_points_lie_in_the_box(task):
    low, high = torch.tensor(task.box, dtype=torch.float64).T
    for x in (task.train[0], task.test[0]):
        assert x.dtype == torch.float64
        assert (x >= low).all()
        assert (x <= high).all()
        assert task.scale(x).abs().max() <= 1 + 1e-12
    assert task.scale(low).tolist() == [-1.0] * len(low)


@by_name
def test_both_networks_are_of_about_equal_size(task):
    ours, cubic = task.network, task.cubic
    assert cubic.k == 3
    assert 0.75 < cubic.parameters / ours.parameters <= 1


@by_name
def test_everybody_has_the_loss_that_kansci_minimizes(task):
    model = ks.MLP([len(task.box), 4, 1], domain=task.box)
    solution = task.solve(model, method="adam", steps=2)
    torch.testing.assert_close(task.loss(solution.model).item(), solution.loss, rtol=1e-9, atol=0)


@pytest.mark.parametrize("task", [task for task in TASKS if isinstance(task, Regression)], ids=lambda task: task.name)
def test_values_are_standardized_and_back(task):
    x, y = task.train
    torch.testing.assert_close(y.mean().item(), 0.0)
    torch.testing.assert_close(y.std(correction=0).item(), 1.0)
    torch.testing.assert_close(task.restore(y[:, 0]), task.exact(x))


@pytest.mark.parametrize("task", EQUATIONS, ids=lambda task: task.name)
def test_solution_solves_its_equation(task):
    assert task.loss(Exact(task)) < 1e-24
    assert task.error(Exact(task)) < 1e-14
    assert task.error(Exact(task, 1.25)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("exp-sin", (0.5, 1.0), math.exp(2)),
        ("product", (-0.5, 0.5), -0.25),
        ("bessel", (0.0,), 1.0),
        ("deep", (0.5, 0.5, 0.0, 0.0), math.exp(0.5)),
        ("feynman", (3.0, 1.0, 2.0), math.exp(-0.5) / math.sqrt(2 * math.pi) / 2),
    ],
)
def test_known_values(name, point, value):
    (task,) = (task for task in TASKS if task.name == name)
    assert task.exact(torch.tensor([point], dtype=torch.float64)).item() == pytest.approx(value)


def test_parameters_are_those_of_the_network():
    model = ks.MultKAN([3, 5, 5, 1], grid=20, k=4)
    assert Network((3, 5, 5, 1), 4, (5, 20)).parameters == count_parameters(model)


@pytest.mark.parametrize("width", [(2, 5, 1), (4, 4, 2, 1), (3, 5, 5, 1), (1, 5, 1)])
def test_wider_network_is_as_large_as_allowed(width):
    network = Network(width, 3, (5, 20))
    wider = network.widened(5)
    assert wider.width[1:-1] > width[1:-1]
    assert 0.8 * network.parameters < wider.parameters <= network.parameters


@pytest.mark.parametrize("layers", [2, 3, 4])
@pytest.mark.parametrize("parameters", [100, 651, 936])
def test_equal_width_is_the_largest(layers, parameters):
    hidden = equal_width(3, 1, parameters, layers)
    small, large = (count_parameters(ks.MLP([3, *[size] * layers, 1])) for size in (hidden, hidden + 1))
    assert small <= parameters < large
