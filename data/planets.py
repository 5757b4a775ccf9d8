"""Writes planets.csv: where the planets were, from JPL's ephemeris DE421.

pip install "kansci[data]"
python data/planets.py
"""

import csv
from pathlib import Path

import numpy as np
from jplephem.spk import SPK
from skyfield_data import get_skyfield_data_path

UNIT = 149597870.700  # km
START, STOP, SAMPLES = 2415020.5, 2469807.5, 173  # Julian days (TDB): 1900-01-01, 2050-01-01
SUN, PLANETS = 10, range(1, 9)  # barycenters of the planets with their moons, Mercury to Neptune
COLUMNS = ("time", "trajectory", "x", "y", "z", "vx", "vy", "vz")


def main() -> None:
    """States relative to the Sun, 173 of each planet."""
    kernel = SPK.open(str(Path(get_skyfield_data_path()) / "de421.bsp"))
    days = np.linspace(START, STOP, SAMPLES)
    sun = np.concatenate(kernel[0, SUN].compute_and_differentiate(days))
    with (Path(__file__).parent / "planets.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for planet in PLANETS:
            states = (np.concatenate(kernel[0, planet].compute_and_differentiate(days)) - sun) / UNIT
            for day, state in zip(days, states.T, strict=True):
                writer.writerow([f"{day - 2451545.0:.4f}", planet, *(f"{own:.12g}" for own in state)])


if __name__ == "__main__":
    main()
