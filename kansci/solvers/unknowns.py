"""The unknowns of a solve as one vector: what a model may change, and where each piece stands."""

import copy
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kansci.nn.edges import SplineEdges
from kansci.nn.symbols import SymbolicEdges


class Unknowns:
    """A working copy of a model in float64, and the vector of its identifiable trained parameters.

    Left out of the vector: parameters that do not require gradients, masked edges, coefficients tied by a period,
    and the constants of symbolic edges that a change of the others can replace (LIBRARY's gauge).

    Attributes:
        model: the working copy; none of its parameters requires gradients.
        slices: for each trained parameter, its place among all columns.
        size: number of columns, identifiable or not.
        active: numbers of the identifiable columns, or None if all are.
    """

    def __init__(self, model: nn.Module, trained: Sequence[str] | None = None) -> None:
        """Copy the model; `trained` names its unknowns, by default those that require gradients."""
        if trained is None:
            trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self.slices: dict[str, slice] = {}
        self.size = 0
        for name in trained:
            self.slices[name] = slice(self.size, self.size + model.get_parameter(name).numel())
            self.size = self.slices[name].stop
        self.model = copy.deepcopy(model).to(torch.float64).requires_grad_(False)
        identifiable = self._identifiable()
        self.active = None if identifiable.all() else identifiable.nonzero().flatten()

    def __len__(self) -> int:
        """Length of the vector."""
        return self.size if self.active is None else len(self.active)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The trained tensors of the working copy, in the order of the columns."""
        return {name: self.model.get_parameter(name) for name in self.slices}

    def _identifiable(self) -> Bool[Tensor, "size"]:
        found = torch.ones(self.size, dtype=torch.bool)
        modules, tensors = dict(self.model.named_modules()), self.tensors
        for name, place in self.slices.items():
            owner, _, leaf = name.rpartition(".")
            module = modules[owner]
            if isinstance(module, SplineEdges | SymbolicEdges):
                shape = tensors[name].shape
                found[place] = module.identifiable(leaf).expand(shape).flatten().cpu()
        return found

    def select(self, columns: Float[Tensor, "size *_"]) -> Float[Tensor, "p *_"]:
        """The identifiable ones of all columns."""
        return columns if self.active is None else columns[self.active]

    def spread(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "size"]:
        """All columns, zero where they are not identifiable."""
        if self.active is None:
            return vector
        return vector.new_zeros(self.size).index_copy_(0, self.active, vector)

    def read(self) -> Float[Tensor, "p"]:
        """The vector of the working copy."""
        return self.collect(self.tensors.values())

    def collect(self, values: Iterable[Tensor]) -> Float[Tensor, "p"]:
        """The vector of something like `tensors`."""
        empty = torch.zeros(0, dtype=torch.float64)
        return self.select(torch.cat([empty, *(own.flatten() for own in values)]))

    def write(self, vector: Float[Tensor, "p"]) -> None:
        """Put a vector into the working copy."""
        tensors, whole = self.tensors, vector
        if self.active is not None:
            whole = torch.cat([own.flatten() for own in tensors.values()])
            whole[self.active] = vector
        for name, place in self.slices.items():
            tensors[name].copy_(whole[place].view(tensors[name].shape))
