"""What fpsolve answers for one equation: evolution, levels, rates, correspondence."""
