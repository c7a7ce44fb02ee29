"""The keeper: the small program that runs one game of the local runtime and outlives the portal's processes.

`servers/runtime/local.py` starts it as `python -I -S …/servers/runtime/keeper LOCK REPLY ORDER`, the numbers of three
descriptors. It must stay free of Django and of everything outside the standard library and this package.
"""
