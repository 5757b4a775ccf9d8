"""Networks of modules: edges between a module and the rest are cut."""

import copy
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from kansci.config import Width
from kansci.errors import ConfigError
from kansci.nn.multkan import MultKAN

ARROW = "->"


class _Group(NamedTuple):
    """One group of a module.

    Attributes:
        numbers: of its nodes or subnodes.
        text: how it is written.
        start: where in the whole text.
    """

    numbers: list[int]
    text: str
    start: int


@torch.no_grad()
def restrict(model: MultKAN, start_layer: int, text: str) -> MultKAN:
    """Cut all edges between a module and the rest of a network.

    A module is written as "[0,1]->[0,1]->[0]": nodes of the column `start_layer`, the subnodes of the next column that
    they lead to, the nodes that these belong to, and so on, up to nodes or subnodes of any column. Negative numbers
    count from the end. Within these columns no path leads from nodes of the module to others or the other way round.
    Further modules are further calls.

    Args:
        model: left unchanged.
        start_layer: the column of the first group, inputs being 0.
        text: the module.

    Returns:
        A new model.

    Raises:
        ConfigError: the text is no module, has no such nodes or more columns than the model, or nodes of a group are
            not those of the subnodes before; the message says where.

    Example:
        >>> model = restrict(MultKAN([4, 4, 1]), 0, "[0,1]->[0,1]->[0,1]")
        >>> model.layers[0].splines.mask.long().tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]

    References:
        Liu et al., KAN 2.0, arXiv:2408.10205, section 3.
    """
    columns = model.config.columns
    if not 0 <= start_layer < len(columns) - 1:
        raise ConfigError(f"expected a column with edges to the next, from 0 to {len(columns) - 2}, got {start_layer}")
    groups = _read(text, columns[start_layer:], start_layer)
    for number in range(1, len(groups) - 1, 2):
        _check_nodes(columns[start_layer + (number + 1) // 2], groups[number], groups[number + 1], text)
    restricted = copy.deepcopy(model)
    for number in range(0, len(groups) - 1, 2):
        layer = restricted.layers[start_layer + number // 2]
        sources, targets = groups[number].numbers, groups[number + 1].numbers
        inside = torch.zeros(layer.config.out.n_subnodes, dtype=torch.bool, device=layer.node_scale.device)
        belongs = torch.zeros(layer.config.n_in, dtype=torch.bool, device=layer.node_scale.device)
        inside[targets], belongs[sources] = True, True
        for part in (layer.splines, layer.symbols):
            if part is not None:
                part.mask *= inside[:, None] == belongs
    return restricted


def _read(text: str, columns: Sequence[Width], start_layer: int) -> list[_Group]:
    """The groups of a module, nodes and subnodes in turn."""
    pieces = text.split(ARROW)
    if not 2 <= len(pieces) <= 2 * len(columns) - 1:
        raise ConfigError(
            f"expected from 2 groups to {2 * len(columns) - 1}, of nodes and subnodes in turn from column "
            f"{start_layer} on, joined by '{ARROW}', got {len(pieces)} in {text!r}"
        )
    groups, start = [], 0
    for number, piece in enumerate(pieces):
        column = (number + 1) // 2
        width = columns[column]
        size, kind = (width.n_subnodes, "subnodes") if number % 2 else (width.n_nodes, "nodes")
        where = f"{kind} of column {start_layer + column}"
        groups.append(_Group(_numbers(piece, start, size, where, text), piece.strip(), start))
        start += len(piece) + len(ARROW)
    return groups


def _numbers(piece: str, start: int, size: int, where: str, text: str) -> list[int]:
    """Numbers of a group "[0, 1]"."""
    if not re.fullmatch(r"\s*\[\s*-?\d+\s*(,\s*-?\d+\s*)*\]\s*", piece):
        raise ConfigError(
            f"expected {where} as a list such as [0,1] at character {start + 1} of {text!r}, got {piece.strip()!r}"
        )
    numbers = [int(number) for number in re.findall(r"-?\d+", piece)]
    wrong = [number for number in numbers if not -size <= number < size]
    found = sorted({number % size for number in numbers})
    if wrong or len(found) < len(numbers):
        problem = f"{wrong[0]}, which is not there" if wrong else "one twice"
        raise ConfigError(f"expected {where} from 0 to {size - 1} at character {start + 1} of {text!r}, got {problem}")
    return found


def _check_nodes(width: Width, subnodes: _Group, nodes: _Group, text: str) -> None:
    """Refuse nodes that others than the subnodes before belong to, or not all of these."""
    own = {subnode for node in nodes.numbers for subnode in width.subnodes(node)}
    if own != set(subnodes.numbers):
        needed = [node for node in range(width.n_nodes) if set(width.subnodes(node)) & set(subnodes.numbers)]
        raise ConfigError(
            f"expected the nodes {needed} that subnodes {subnodes.text} belong to, with all of their subnodes, "
            f"at character {nodes.start + 1} of {text!r}, got nodes {nodes.text} with subnodes {sorted(own)}"
        )
