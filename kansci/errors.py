"""Everything kansci raises on purpose, and its warnings.

Each error also inherits the builtin that a stranger would catch. A message says what was expected, what came,
and what to do.
"""


class KansciError(Exception):
    """Base of all errors raised by kansci."""


class ConfigError(KansciError, ValueError):
    """An option or a combination of options makes no sense."""


class ShapeError(KansciError, ValueError):
    """A tensor has the wrong shape."""


class DtypeError(KansciError, TypeError):
    """A tensor has the wrong dtype, or lives on the wrong device."""


class DataError(KansciError, ValueError):
    """Input data are empty or not finite; the message names the rows."""


class DomainError(KansciError, ValueError):
    """Points lie outside the domain of a model, a function or a region."""


class DerivativeError(KansciError, ValueError):
    """A derivative was asked for that is not defined, or read without having been computed."""


class RowDependenceError(KansciError, ValueError):
    """Row i of a residual depends on a point other than point i."""


class FormulaError(KansciError, ValueError):
    """A formula cannot be read, or cannot be turned into a network."""


class UnknownFunctionError(KansciError, KeyError):
    """A univariate function is not in the library."""

    def __str__(self) -> str:
        return str(self.args[0])


class CheckpointError(KansciError, OSError):
    """A file cannot be written, is damaged, or is not a kansci file."""


class RankError(KansciError, RuntimeError):
    """Another process of a distributed solve has ended or failed."""


class MissingDependencyError(KansciError, ImportError):
    """An optional library is needed and not installed."""


class KansciWarning(UserWarning):
    """Base of all warnings issued by kansci."""


class ExtrapolationWarning(KansciWarning):
    """A noticeable share of the activations lies outside the domain of their edges."""


class ConvergenceWarning(KansciWarning):
    """A solve ended without reaching what was asked for."""


class SweepWarning(KansciWarning):
    """Runs of a sweep failed or are missing, or one of its files is not what it should be."""
