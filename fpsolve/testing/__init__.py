"""Conformance checks to run on a potential, a scheme or a method of your own.

Each check builds small problems, tests the properties that the classes of the library
have, and raises `AssertionError` with one plain sentence if a property does not hold.
"""

from .method import check_method as check_method
from .potential import check_potential as check_potential
from .scheme import check_scheme as check_scheme
