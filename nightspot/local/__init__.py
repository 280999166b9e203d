"""The whole product on one machine: what AWS would do, done here, hours in seconds.

Nothing in this package is imported by what is deployed.
"""
