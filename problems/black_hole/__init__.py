"""Hidden symmetry of black holes: the time in which space is flat."""
