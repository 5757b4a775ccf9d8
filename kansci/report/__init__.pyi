from .mathml import as_mathml as as_mathml
from .page import write_report as write_report
