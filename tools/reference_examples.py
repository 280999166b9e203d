"""Decides which example stands beside each command of the reference; a test runs each through the parser.

Keys are the commands' words without `nightspot`. A command without an example fails the test.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "new": ("nightspot new my-training",),
    "init": ("nightspot init described.json --schedule 02:30 --deadline 08:00 --timezone Europe/Dublin",),
    "validate": ("nightspot validate jobs/",),
    "doctor": ("nightspot doctor jobs/recommender.yaml", "nightspot doctor --local"),
    "synth": ("nightspot synth", "nightspot synth -c nightspot:log_days=30"),
    "deploy": (
        "nightspot deploy --profile NAME --region eu-west-1",
        "nightspot deploy --bootstrap --require-approval never -- --no-rollback",
    ),
    "demo": ("nightspot demo --night interrupted",),
    "run": (
        "nightspot run jobs/recommender.yaml --local --night bad",
        "nightspot run jobs/recommender.yaml --local --market on_demand --deadline 6h",
        "nightspot run recommender --stack Nightspot --wait",
    ),
    "drill": ("nightspot drill jobs/recommender.yaml --local",),
    "jobs": ("nightspot jobs --stack Nightspot",),
    "runs": ("nightspot runs --outcome failed --since 7d --stack Nightspot",),
    "show": ("nightspot show", "nightspot show 20261121-25feuomo --stack Nightspot"),
    "watch": ("nightspot watch --job recommender --stack Nightspot",),
    "logs": ("nightspot logs 20261121-25feuomo --attempt 1 --tail 50 --stack Nightspot",),
    "stop": ("nightspot stop 20261121-25feuomo --stack Nightspot",),
    "retry": ("nightspot retry 20261121-25feuomo --stack Nightspot --wait",),
    "audit": ("nightspot audit --stack Nightspot", "nightspot audit --stack Nightspot --fix --yes --json"),
    "report": ("nightspot report --job recommender --month 2026-11 --out month.html",),
    "explain": ("nightspot explain --status Stopped/MaxWaitTimeExceeded",),
    "advise": ("nightspot advise jobs/recommender.yaml --html advice.html",),
    "prices": ("nightspot prices jobs/recommender.yaml --live",),
    "backtest": ("nightspot backtest --job jobs/recommender.yaml --plot policies.png",),
    "schema": ("nightspot schema",),
    "completion": ("nightspot completion bash",),
    "local serve": ("nightspot local serve --port 8787 --night interrupted",),
}
