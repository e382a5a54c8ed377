"""Random problems with independent references, for `effectivity.py`. The references use
numpy and scipy alone.
"""
