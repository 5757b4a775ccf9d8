"""What can be set of the search for a constitutive law."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Settings of the search for a constitutive law; what is not set follows from the case."""

    case: Literal["p11", "p12_prior", "p12", "energy", "rubber", "custom"] = "p11"

    study: Literal["none", "data"] = "none"
    """data: for p11 and p12, the fewest samples with the exact formula, with a right prior, without and with a wrong
    one."""

    data: Path | None = None
    """Custom: a table (CSV or HDF5) whose columns are the variables, e.g. F11 to F33, and the response. Rubber: a CSV
    file with the columns mode (uniaxial, equibiaxial, pure_shear), stretch [1] and nominal stress. Energy: with the
    columns F11, F12, F21, F22 (plane strain), or F11 to F33, and P11, ... of the first Piola stress."""

    target: str | None = None
    """Custom: the column of the response; by default the last."""

    prior: str | None = None
    """A formula that is believed, in the names of the columns; "none" for none, by default that of the case."""

    samples: int = 0
    """Number of samples; 0 for the case's own."""

    spread: float = 0.0
    """Entries of F differ from those of the identity by so much at most; 0 for the case's own."""

    noise: float | None = None
    """Standard deviation of the noise relative to that of the response, or of each component of the stress; by default
    none, for the case energy 1e-3."""

    law: Literal["neo_hooke", "isihara", "haines_wilson", "gent_thomas", "arruda_boyce", "ogden"] = "neo_hooke"
    """Energy: which of the benchmark's; another one by --data."""

    curves: Literal["stretches", "invariants"] = "stretches"
    """Rubber: what the energy's curves are taken of."""

    train: tuple[str, ...] = ()
    """Rubber: modes that the energy is fitted to; by default all in the table."""

    grid: int = 16
    """Rubber: intervals of each curve."""

    young: float = 1.0
    """Young's modulus [any unit of stress]."""

    poisson: float = 0.2
    """Poisson's ratio [1]."""

    seed: int = 0
