"""The KANpiler: formulas compiled to networks whose every edge is symbolic.

References:
    Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise

import torch

from kansci.config import LayerConfig, Width
from kansci.errors import ConfigError
from kansci.nn.features import AuxiliaryFeatures
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.symbolic.candidates import Candidate
from kansci.symbolic.graph import Product, Sum, Term
from kansci.symbolic.translate import Formula, build_graph

Feature = Formula | Candidate


def kanpile(
    formulas: Formula | Sequence[Formula],
    names: Sequence[str],
    *,
    grid: int = 5,
    k: int = 3,
    products: str = "nodes",
) -> MultKAN:
    r"""Compile formulas to a network that computes them exactly.

    Each part of a formula is a sum of terms c f(a x + b), whose constants are those of symbolic edges, or a
    product of such sums, a multiplication node. Parts that several places share are computed once. The
    constants are parameters that can be trained.

    Args:
        formulas: one or several, as text (see `parse_formula`) or as SymPy expressions: numbers, variables,
            sums, products, quotients, powers with a number as exponent or a positive number as base, and
            functions of LIBRARY, nested at will.
        names: the variables, one for each input of the network.
        grid: intervals of the spline edges that may be added later.
        k: their degree.
        products: "nodes" for multiplication nodes, one for each product, of any arity. Without such nodes:
            "squares", u v = ((u + v)^2 - (u - v)^2) / 4, with some loss of digits where one factor is much smaller
            than the other; "exp-log", u v = exp(log u + log v), where all factors are positive.

    Returns:
        The network, float64, with one output for each formula; it holds wherever the formula does.

    Raises:
        FormulaError: a formula cannot be read, or has a part that cannot be compiled; the message names it.
        ConfigError: an option makes no sense.

    Example:
        >>> model = kanpile(["exp(sin(pi*x) + y**2)", "2*x*y + 3"], ["x", "y"])
        >>> [(width.n_sum, width.arities) for width in model.config.columns]
        [(2, ()), (1, (2,)), (2, ())]
        >>> model(torch.tensor([[0.5, 0.0]], dtype=torch.float64)).tolist()
        [[2.718281828459045, 3.0]]

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
    """
    graph = build_graph(formulas, names, products)
    columns = graph.columns
    return MultKAN.from_layers(
        [
            _compile_layer(graph.cells(number, column), sources, grid, k)
            for number, (sources, column) in enumerate(pairwise(columns), start=1)
        ]
    )


def auxiliary_features(
    formulas: Feature | Sequence[Feature] | Mapping[str, Feature], names: Sequence[str]
) -> AuxiliaryFeatures:
    """Functions of the inputs that a network takes as further inputs.

    Args:
        formulas: one or several, as text, as SymPy expressions or from `candidate_features`, or a mapping from the
            name of each feature to its formula; without names the features are called by their formulas.
        names: the variables, one for each raw input.

    Returns:
        The features, float64; not trained.

    Raises:
        FormulaError: a formula cannot be read or compiled.
        ConfigError: a feature has the name of an input.

    Example:
        >>> features = auxiliary_features({"r": "sqrt(x**2 + y**2)"}, ["x", "y"])
        >>> features(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
        tensor([[3., 4., 5.]], dtype=torch.float64)
        >>> MultKAN([2 + 1, 5, 1], features=features).n_inputs
        2
    """
    if isinstance(formulas, Mapping):
        labels, several = list(formulas), _formulas(list(formulas.values()))
        if set(labels) & set(names):
            raise ConfigError(f"expected features named other than the inputs {list(names)}, got {labels}")
    else:
        several = _formulas(formulas)
        labels = list(map(str, several))
    return AuxiliaryFeatures(kanpile(several, names), list(map(str, several)), [*names, *labels])


def _formulas(features: Feature | Sequence[Feature]) -> list[Formula]:
    several = list(features) if isinstance(features, Sequence) and not isinstance(features, str) else [features]
    return [feature.formula if isinstance(feature, Candidate) else feature for feature in several]


def _compile_layer(cells: Sequence[Sum | Product], sources: Sequence[int], grid: int, k: int) -> KANLayer:
    """The layer that computes cells, sums before products, from the nodes whose numbers are the sources."""
    sums = [cell for cell in cells if isinstance(cell, Sum)]
    products = [cell for cell in cells if isinstance(cell, Product)]
    subnodes = [*sums, *chain.from_iterable(product.factors for product in products)]
    symbols = [[""] * len(sources) for _ in subnodes]
    constants = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64).repeat(len(subnodes), len(sources), 1)
    for target, total in enumerate(subnodes):
        for number, term in enumerate(total.terms or (Term("zero", sources[0]),)):
            source = sources.index(term.source)
            symbols[target][source] = term.function
            bias = total.bias if number == 0 else 0.0
            constants[target, source] = torch.tensor([term.a, term.b, term.c, bias], dtype=torch.float64)
    out = Width(len(sums), tuple(len(product.factors) for product in products))
    rows = tuple(map(tuple, symbols))
    config = LayerConfig(len(sources), out, grid, k, splines=False, symbols=rows)
    layer = KANLayer(config, torch.Generator())
    layer.load_state_dict({**layer.state_dict(), "symbols.affine": constants})
    return layer
