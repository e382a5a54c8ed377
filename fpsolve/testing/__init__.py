"""Conformance checks that you run on a potential, a scheme or a method of your own.

Each builds small problems, looks at what the library promises of its own classes, and raises `AssertionError` with one
plain sentence if a promise is broken.
"""

from .method import check_method as check_method
from .potential import check_potential as check_potential
from .scheme import check_scheme as check_scheme
