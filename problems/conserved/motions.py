def solve_motions(config, case): raise NotImplementedError
