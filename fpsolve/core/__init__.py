"""What every package uses: validation of arguments, result codes, loops, compiled
programs, operations on one axis.
"""
