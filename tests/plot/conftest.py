"""No figure outlives its test, and no test changes how others draw."""

import copy

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def untouched_matplotlib():
    settings = copy.deepcopy(dict(mpl.rcParams))
    yield
    assert dict(mpl.rcParams) == settings
    plt.close("all")
