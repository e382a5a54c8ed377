"""What fpsolve answers for one equation: evolution, levels, the correspondence, and
rare events.
"""
