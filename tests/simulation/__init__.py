"""The whole product in virtual time: the real workflow file, handlers and adapters over fakes of AWS's clients.

One seed is one run. `python -m tests.simulation --help`.
"""
