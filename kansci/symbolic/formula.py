"""The inverse of the KANpiler: networks of symbolic edges as SymPy expressions."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import sympy
from jaxtyping import Float
from torch import Tensor

from kansci.config import Edge
from kansci.errors import ConfigError, FormulaError
from kansci.functions import Function, library_function
from kansci.nn.features import AuxiliaryFeatures
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN
from kansci.symbolic.build import Builder
from kansci.symbolic.constants import exact_number
from kansci.symbolic.parse import symbols_of


def formula(
    model: MultKAN, names: Sequence[str] | None = None, *, features: str = "expand", simplify: bool = False
) -> list[sympy.Expr]:
    """The expressions that a network of symbolic edges computes, the inverse of `kanpile`.

    Constants that agree to rounding with a small ratio, a multiple of pi, a root and the like are written as such,
    others in double precision, see `exact_number`. Affine maps of nodes, such as those of standardized data, are part
    of the expressions: these are in raw units. Masked edges and spline edges that are zero are left out.

    Args:
        model: the network.
        names: of the raw inputs; by default those of the auxiliary features, or x1, x2, ... after the columns of the
            data (see `MultKAN.inputs`).
        features: "expand" writes auxiliary features in terms of raw inputs, "name" calls them by their names.
        simplify: write the same in fewer operations where SymPy finds a way, as x y for ((x + y)^2 - (x - y)^2)/4.

    Returns:
        One expression for each output; its variables are Symbol(name, real=True).

    Raises:
        FormulaError: a spline edge remains, which the message names, or a constant is not finite.
        ConfigError: not one name for each raw input, or `features` is neither of the two.

    Example:
        >>> from kansci import kanpile
        >>> formula(kanpile(["exp(sin(pi*x) + y**2)", "x/sqrt(2) - 1/3"], ["x", "y"]), ["x", "y"])
        [exp(y**2 + sin(pi*x)), sqrt(2)*x/2 - 1/3]

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.2.
    """
    if not isinstance(model, MultKAN):
        raise ConfigError(f"expected a MultKAN of symbolic edges, got {type(model).__name__}; only these are formulas")
    if features not in ("expand", "name"):
        raise ConfigError(f"expected features='expand' or 'name', got {features!r}")
    labels = _names(model, names)
    builder = Builder()
    nodes: list[sympy.Expr] = list(symbols_of(labels).values())
    if isinstance(model.features, AuxiliaryFeatures):
        if features == "expand":
            nodes += _propagate(builder, model.features.network, nodes)
        else:
            nodes += symbols_of(model.features.names[model.n_inputs :]).values()
    found = [builder.finish(node) for node in _propagate(builder, model, nodes)]
    return [_shortest(own) for own in found] if simplify else found


def _shortest(expression: sympy.Expr) -> sympy.Expr:
    """The same in the fewest operations, the shortest of a few ways to write it."""
    expanded = sympy.expand(expression)
    return min([expression, expanded, sympy.simplify(expanded), sympy.simplify(expression)], key=sympy.count_ops)


def _names(model: MultKAN, names: Sequence[str] | None) -> list[str]:
    if names is None and isinstance(model.features, AuxiliaryFeatures):
        return list(model.features.names[: model.n_inputs])
    found = [f"x{i + 1}" for i in model.inputs] if names is None else list(names)
    if len(found) != model.n_inputs:
        raise ConfigError(f"expected {model.n_inputs} names, one for each raw input, got {found}")
    return found


def _propagate(builder: Builder, model: MultKAN, nodes: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    found = list(nodes)
    for number, layer in enumerate(model.layers):
        found = _LayerFormula(builder, layer, number).nodes(found)
    return found


class _LayerFormula:
    """What the nodes of a layer are in terms of those before."""

    def __init__(self, builder: Builder, layer: KANLayer, number: int) -> None:
        self.builder, self.layer, self.number = builder, layer, number
        self.splines = None if layer.splines is None else layer.splines.weights.detach()

    def nodes(self, sources: Sequence[sympy.Expr]) -> list[sympy.Expr]:
        layer, width = self.layer, self.layer.config.out
        subnodes = [self.subnode(target, sources) for target in range(width.n_subnodes)]
        products = [
            self.builder.multiply(*(subnodes[subnode] for subnode in width.subnodes(node)))
            for node in range(width.n_nodes)
        ]
        return self.affine(products, layer.node_scale, layer.node_bias)

    def subnode(self, target: int, sources: Sequence[sympy.Expr]) -> sympy.Expr:
        total = _sum(self.builder, [self.edge(target, source, x) for source, x in enumerate(sources)])
        scale, bias = self.layer.subnode_scale[target : target + 1], self.layer.subnode_bias[target : target + 1]
        return self.affine([total], scale, bias)[0]

    def affine(
        self, parts: Sequence[sympy.Expr], scale: Float[Tensor, "parts"], bias: Float[Tensor, "parts"]
    ) -> list[sympy.Expr]:
        numbers = zip(parts, scale.tolist(), bias.tolist(), strict=True)
        return [self.linear(part, factor, offset) for part, factor, offset in numbers]

    def linear(self, part: sympy.Expr, factor: float, offset: float) -> sympy.Expr:
        """factor * part + offset, which stays as it is for 1 and 0."""
        scaled = part if factor == 1 else self.builder.multiply(exact_number(factor), part)
        return scaled if offset == 0 else self.builder.add(scaled, exact_number(offset))

    def edge(self, target: int, source: int, x: sympy.Expr) -> sympy.Expr:
        if self.splines is not None and self.splines[target, source].any():
            edge = Edge(self.number, target, source)
            raise FormulaError(f"expected symbolic edges only, got a spline on {edge}; snap it or prune it first")
        symbols, name = self.layer.symbols, self.layer.config.symbols[target][source] if self.layer.symbols else ""
        mask = float(symbols.mask[target, source]) if symbols is not None and name else 0.0
        if symbols is None or not mask:
            return sympy.Integer(0)
        a, b, c, d = symbols.affine[target, source].tolist()
        value = self.apply(library_function(name), self.linear(x, a, b))
        return self.linear(value, mask * c, mask * d)

    def apply(self, function: Function, x: sympy.Expr) -> sympy.Expr:
        """f(x), where exp(y log(x)) is x**y again."""
        factors = sympy.Mul.make_args(x)
        logarithms = [factor for factor in factors if isinstance(factor, sympy.log)]
        if function.name != "exp" or len(logarithms) != 1:
            return self.builder.apply(function.sympy, x)
        exponent = sympy.Mul(*(factor for factor in factors if factor != logarithms[0]))
        return self.builder.power(logarithms[0].args[0], exponent)


def _sum(builder: Builder, terms: Sequence[sympy.Expr]) -> sympy.Expr:
    """The sum of terms, where u v is no longer ((u + v)^2 - (u - v)^2) / 4."""
    remaining, products = list(sympy.Add.make_args(builder.add(*terms))), []
    for p, q in combinations(list(remaining), 2):
        product = _difference_of_squares(builder, p, q) if p in remaining and q in remaining else None
        if product is not None:
            remaining = [term for term in remaining if term not in (p, q)]
            products.append(product)
    return builder.add(*remaining, *products)


def _difference_of_squares(builder: Builder, p: sympy.Expr, q: sympy.Expr) -> sympy.Expr | None:
    """c (a + b) (a - b) if p and q are c a^2 and -c b^2 and the factors have fewer terms than a and b."""
    c, square, minus_c, other = (*_coefficient(p), *_coefficient(q))
    if c != -minus_c or not (_is_square(square) and _is_square(other)):
        return None
    a, b = builder.opened(square.base), builder.opened(other.base)
    factors = builder.add(a, b), builder.add(a, builder.multiply(sympy.Integer(-1), b))
    if sum(map(_n_terms, factors)) >= _n_terms(a) + _n_terms(b):
        return None
    return builder.multiply(c, *factors)


def _coefficient(part: Any) -> tuple[Any, Any]:
    """A factor that is a number, and the others."""
    return part.as_independent(*part.free_symbols, as_Add=False)


def _is_square(part: sympy.Expr) -> bool:
    return isinstance(part, sympy.Pow) and part.exp == 2


def _n_terms(part: sympy.Expr) -> int:
    return len(sympy.Add.make_args(part))
