r"""Laws of motion from a Lagrangian L(q, q'), for any model with jets.

Points are states x = (q, q'), d coordinates and then their d velocities. The equations of Euler and Lagrange with a
Rayleigh function R(q, q') of dissipation and generalized forces Q,

.. math:: \frac{d}{dt} \frac{\partial L}{\partial \dot q_i} - \frac{\partial L}{\partial q_i}
          = Q_i - \frac{\partial R}{\partial \dot q_i},

say of the accelerations that

.. math:: M \ddot q = \frac{\partial L}{\partial q} - \frac{\partial^2 L}{\partial \dot q \partial q} \dot q
          - \frac{\partial R}{\partial \dot q} + Q, \qquad
          M_{ij} = \frac{\partial^2 L}{\partial \dot q_i \partial \dot q_j}.

The first output of a model is L, a second one, if there is one, is R. L has the unit of energy [E], q and t those of
the data: M is in [E t^2 / q^2], Q in [E / q], R in [E / t]. Where no force is given, L counts only up to a factor, to
a constant and to the derivative by t of any function of q (its gauge).

References:
    Cranmer et al., Lagrangian neural networks, arXiv:2003.04630.
    Liu et al., KAN 2.0, arXiv:2408.10205, section 6.2.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kansci.errors import ShapeError
from kansci.jets import Jet, jet
from kansci.solvers.residual import Residual


class Motion(NamedTuple):
    """The equations M q'' = f of one state each.

    Attributes:
        mass: M, symmetric (n, d, d).
        force: f, all that is not inertia (n, d).
    """

    mass: Float[Tensor, "n d d"]
    force: Float[Tensor, "n d"]

    @property
    def is_regular(self) -> Tensor:
        """Where the mass matrix is positive definite (n,)."""
        return torch.linalg.cholesky_ex(self.mass).info == 0

    def accelerations(self) -> Float[Tensor, "n d"]:
        """M^-1 f, infinite where M is singular."""
        solution, info = torch.linalg.solve_ex(self.mass, self.force[..., None])
        return torch.where((info == 0)[:, None], solution[..., 0], torch.inf)

    def regular_accelerations(self) -> Float[Tensor, "n d"]:
        """M^-1 f, infinite where M is not positive definite: no solver goes there."""
        factor, info = torch.linalg.cholesky_ex(self.mass)
        solution = torch.cholesky_solve(self.force[..., None], factor)[..., 0]
        return torch.where((info == 0)[:, None], solution, torch.inf)


def motion(states: Jet, x: Float[Tensor, "n s"], force: Tensor | None = None) -> Motion:
    """The equations of motion that a jet of L, with the Hessian, says.

    Args:
        states: jet of the model at x.
        x: states (q, q').
        force: Q (n, d), or None.

    Returns:
        Mass matrices and forces.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
        >>> pendulum = kanpile("v**2/2 + cos(q)", ["q", "v"])
        >>> bool((motion(pendulum.jet(x, "hessian"), x).force + x[:, :1].sin()).abs() < 1e-15)
        True
    """
    d = x.shape[1] // 2
    gradient, hessian = states.gradient, states.hessian[:, 0]
    total = gradient[:, 0, :d] - (hessian[:, d:, :d] @ x[:, d:, None])[..., 0]
    if gradient.shape[1] > 1:
        total = total - gradient[:, 1, d:]
    return Motion(hessian[:, d:, d:], total if force is None else total + force)


def accelerations(model: Any, x: Float[Tensor, "n s"], force: Tensor | None = None) -> Float[Tensor, "n d"]:
    """Accelerations q'' at states.

    Args:
        model: L, or L and R, a torch callable of states.
        x: states (q, q') [unit of q; of q / t].
        force: Q (n, d), or None.

    Returns:
        q'' (n, d) [q / t^2], infinite where the mass matrix is singular.

    Raises:
        ShapeError: states without a velocity for each coordinate.

    Example:
        >>> from kansci import kanpile
        >>> falling = kanpile("-sqrt(1 - v**2) + q", ["q", "v"])
        >>> accelerations(falling, torch.tensor([[0.0, 0.6]], dtype=torch.float64)).item()
        0.512...
    """
    _check_states(x)
    with torch.no_grad():
        return motion(jet(model, x, "hessian"), x, force).accelerations()


def energy(model: Any, x: Float[Tensor, "n s"]) -> Float[Tensor, "n"]:
    r"""The energy, \sum_i \dot q_i \partial L / \partial \dot q_i - L, which is conserved where nothing dissipates.

    Args:
        model: L, or L and R, a torch callable of states.
        x: states (q, q').

    Returns:
        (n,) [E].

    Raises:
        ShapeError: states without a velocity for each coordinate.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
        >>> energy(kanpile("v**2/2 + cos(q)", ["q", "v"]), x).item()
        1.0
    """
    _check_states(x)
    d = x.shape[1] // 2
    with torch.no_grad():
        found = jet(model, x, "gradient")
        return (found.gradient[:, 0, d:] * x[:, d:]).sum(1) - found.value[:, 0]


def euler_lagrange(
    points: Float[Tensor, "n s"],
    accelerations: Float[Tensor, "n d"],
    *,
    force: Tensor | None = None,
    regular: bool = True,
    weight: float | Tensor = 1.0,
    noise: float | Tensor | None = None,
    name: str = "accelerations",
) -> Residual:
    """The accelerations that L implies are those measured.

    The residual is M^-1 f - q'', shape (n, d) [q / t^2].

    Args:
        points: states (q, q').
        accelerations: q'' (n, d).
        force: Q (n, d), or None.
        regular: whether L is to keep the mass matrix positive definite at all points. It has to be so at the start.
        weight: of the term, one number or one per point (n,).
        noise: standard deviation of the accelerations, one number or (n,), or None.
        name: what the history calls the term.

    Returns:
        The term, for `solve`.

    Raises:
        ShapeError: states without a velocity, or not one row of accelerations and forces for each of them.

    Example:
        >>> from kansci import kanpile
        >>> x = torch.tensor([[0.5, 2.0], [1.0, 0.0]], dtype=torch.float64)
        >>> term = euler_lagrange(x, -x[:, :1])
        >>> term([kanpile("3*v**2 - 3*q**2", ["q", "v"]).jet(x, "hessian")]).abs().max().item()
        0.0
    """
    _check_states(points)
    d = points.shape[1] // 2
    for label, own in (("accelerations", accelerations), ("force", force)):
        if own is not None and own.shape != (len(points), d):
            raise ShapeError(f"expected {label} of shape {(len(points), d)}, got {tuple(own.shape)}")
    targets = accelerations if force is None else (accelerations, force)

    def difference(states: Jet, x: Tensor, given: Any) -> Tensor:
        measured, applied = (given, None) if force is None else given
        here = motion(states, x, applied)
        return (here.regular_accelerations() if regular else here.accelerations()) - measured

    return Residual(difference, points, needs="hessian", targets=targets, weight=weight, noise=noise, name=name)


def inertia(point: Float[Tensor, "1 s"], coordinate: int, value: float = 1.0, *, name: str = "inertia") -> Residual:
    """What fixes the factor of L: the inertia M_ii of one coordinate in one state.

    Args:
        point: a state (1, 2 d).
        coordinate: i.
        value: of M_ii.
        name: what the history calls the term.

    Returns:
        The term, for `solve`.
    """
    _check_states(point)
    place = point.shape[1] // 2 + coordinate
    return Residual(lambda states, x: states.hessian[:, 0, place, place] - value, point, needs="hessian", name=name)


def _check_states(x: Tensor) -> None:
    if x.ndim != 2 or x.shape[1] % 2 or not x.shape[1]:
        raise ShapeError(f"expected states of shape (n, 2 d), coordinates and then velocities, got {tuple(x.shape)}")
