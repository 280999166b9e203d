"""The CDK entry of this repository. A team's own project has `python -m nightspot.cdk` instead."""

from nightspot.cdk.__main__ import main

main()
