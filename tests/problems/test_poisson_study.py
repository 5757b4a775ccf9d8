import math
from dataclasses import replace

import pytest
import torch

from kansci.errors import ConfigError
from problems.poisson.networks import limit_parameters
from problems.poisson.physics import CASES
from problems.poisson.solve import Config, solve
from problems.poisson.study import ERRORS, MEASURES, Network, fit_slope, grow_networks

TINY = Config(case="sine", study="scaling", width=(2, 2, 1), grids=(1, 2), k=5, interior=60, walls=20, steps=2)
SERIES = ("kan_finer_grids", "kan_more_nodes", "mlp_1_hidden_layer", "mlp_2_hidden_layers")


@pytest.fixture(scope="module")
def result():
    return solve(TINY)


def test_the_slope_of_a_power_law_is_its_exponent():
    x = torch.linspace(1, 9, 5).tolist()
    assert fit_slope(x, [7 * each**-3.5 for each in x]) == pytest.approx(-3.5)


def test_a_single_size_has_no_slope():
    assert math.isnan(fit_slope([2.0, 2.0], [1.0, 3.0]))


@pytest.mark.parametrize("name", CASES)
def test_networks_grow_up_to_the_parameters_a_case_allows(name):
    d, limit = CASES[name].dimension, limit_parameters(CASES[name])
    series = grow_networks(CASES[name], Network((d, 8, 1), (2, 4)))
    for networks in list(series.values())[2:]:
        counts = [sum((a + 1) * b for a, b in zip(n.width, n.width[1:], strict=False)) for n in networks]
        assert counts == sorted(counts)
        assert 0.85 * limit < counts[-1] <= limit


def test_stages_reach_below_the_first_grid():
    grids = [
        network.grids for network in grow_networks(CASES["paper"], Network((2, 3, 1), (6, 12)))["KAN, finer grids"]
    ]
    assert grids == [(3,), (6,), (6, 12)]


@pytest.mark.slow
def test_the_study_reports_every_slope(result):
    expected = {f"slope_{error}_{measure}_{name}" for error in ERRORS for measure in MEASURES for name in SERIES}
    assert set(result.metrics) == expected


def test_the_model_is_the_largest_of_ours(result):
    assert [layer.config.grid for layer in result.model.layers] == [2, 2]


def test_every_run_is_a_row(result):
    runs = [row for row in result.table[1:] if row[1] != ""]
    assert len({len(row) for row in result.table}) == 1
    assert all(parameters > 0 and 0 < steps <= 4 and seconds > 0 for _, parameters, steps, seconds, _, _ in runs)
    assert all(l2 > 0 and h1 > l2 for *_, l2, h1 in runs)


@pytest.mark.parametrize("measure", MEASURES)
def test_both_errors_are_drawn_for_every_series(result, measure):
    figure = result.figures[f"error_against_{measure}"]()
    assert len(figure.axes) == len(ERRORS)
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert len(ax.get_lines()) == len(SERIES)


@pytest.mark.parametrize(
    "changes",
    [{"condition": "exact"}, {"case": "custom", "source": "1", "boundary_values": "0"}],
    ids=["exact boundary values", "no exact solution"],
)
def test_what_cannot_be_compared_is_refused(changes):
    with pytest.raises(ConfigError, match="expected"):
        solve(replace(TINY, **changes))
