r"""What earlier data say about a network: their information matrix, carried to later fits.

Data with residuals r and Jacobian J at unknowns w_0 say of other unknowns that their sum of squares is about

.. math:: |r|^2 + 2 r^T J (w - w_0) + (w - w_0)^T J^T J (w - w_0),

exactly so where the network is linear in them, as one layer is. Added to the loss of later data, it keeps what was
learned; grids must stay as they are, since the matrix is in their coordinates.

References:
    Kirkpatrick et al., Overcoming catastrophic forgetting, PNAS 114 (2017) 3521, arXiv:1612.00796 (diagonal only).
    Gelman et al., Bayesian Data Analysis, section 4.1 (normal approximation of what data say).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Information:
    """A quadratic function of the unknowns of a system, but for a constant.

    Attributes:
        vector: unknowns w_0.
        slope: J^T r there.
        matrix: J^T J there.

    Example:
        >>> import torch
        >>> two = torch.tensor([2.0])
        >>> Information(vector=two, slope=0 * two, matrix=torch.ones(1, 1)).value(5 * two)
        tensor(64.)
    """

    vector: Float[Tensor, "p"]
    slope: Float[Tensor, "p"]
    matrix: Float[Tensor, "p p"]

    def value(self, vector: Float[Tensor, "p"]) -> Tensor:
        """The sum of squares less that at w_0."""
        change = vector - self.vector
        return (2 * self.slope + self.matrix @ change) @ change

    def scaled(self, factor: float) -> "Information":
        """So many times the function."""
        return Information(self.vector, factor * self.slope, factor * self.matrix)

    def add_to(self, gram: Float[Tensor, "p p"]) -> None:
        """Add half the second derivatives."""
        gram += self.matrix

    def times(self, vector: Float[Tensor, "p"]) -> Float[Tensor, "p"]:
        """Half the second derivatives times a vector."""
        return self.matrix @ vector

    def diagonal(self, size: int) -> Float[Tensor, "p"]:
        """The diagonal of half the second derivatives."""
        return self.matrix.diagonal()
