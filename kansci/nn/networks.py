"""The networks of kansci, and what they are made of, as types.

All have `layers`, `lift` to the jet of the first layer's sources, `domain`, `n_inputs` and `n_outputs`; layers take
jets to jets, and have `splines` or None.
"""

from kansci.nn.dense import DenseLayer, DenseNetwork
from kansci.nn.lan import LAN
from kansci.nn.layer import KANLayer
from kansci.nn.multkan import MultKAN

Network = MultKAN | DenseNetwork
SplineNetwork = MultKAN | LAN
Layer = KANLayer | DenseLayer
