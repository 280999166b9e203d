"""What the JSON Schema says about each field of a job file: its meaning, and what its text can be.

Keys are the model and the field's key in the file; tests walk both tables against the models.
"""

from __future__ import annotations

from typing import Any

from nightspot.job.times import LONGEST_SECONDS
from nightspot.run_ids import JOB_NAME_CHARACTERS

DURATION: dict[str, Any] = {
    "anyOf": [
        {
            "type": "string",
            "minLength": 2,
            "pattern": r"^\s*([0-9]{1,9} ?d ?)?([0-9]{1,9} ?h ?)?([0-9]{1,9} ?m(in)? ?)?([0-9]{1,9} ?s)?\s*$",
        },
        {"type": "integer", "minimum": 1, "maximum": LONGEST_SECONDS},
    ],
    "examples": ["4h", "1h30m", "45s", "2d"],
}
TIME_ZONE: dict[str, Any] = {"type": "string", "examples": ["UTC", "Europe/Dublin", "America/New_York"]}

# In place of the plain types that the models end in, once their validators have read the text.
RULES: dict[str, dict[str, Any]] = {
    "Job.name": {
        "type": "string",
        "pattern": "^[a-z0-9](-*[a-z0-9])*$",
        "maxLength": JOB_NAME_CHARACTERS,
    },
    "Job.work": DURATION,
    "Job.checkpoint_every": DURATION,
    "Schedule.cron": {
        "type": "string",
        "pattern": r"^\s*(cron\(\s*\S+(\s+\S+){5}\s*\)|\S+(\s+\S+){5})\s*$",
        "examples": ["0 0 * * ? *", "30 2 ? * MON-FRI *"],
    },
    "Schedule.rate": {
        "type": "string",
        "pattern": r"^\s*(rate\(\s*)?[1-9][0-9]{0,8}\s+(minute|hour|day)s?\s*\)?\s*$",
        "examples": ["1 day", "12 hours"],
    },
    "Schedule.timezone": TIME_ZONE,
    "Schedule.flexible": DURATION,
    "Deadline.at": {
        "type": "string",
        "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$",
        "examples": ["08:00"],
    },
    "Deadline.timezone": TIME_ZONE,
    "Deadline.within": DURATION,
    "InstanceType.patience": DURATION,
    "ChangeOver.spot": DURATION,
    "ChangeOver.on_demand": DURATION,
}

# Of these keys a section needs one at least.
ONE_OF: dict[str, tuple[str, ...]] = {
    "Schedule": ("cron", "rate"),
    "Deadline": ("at", "within"),
    "Capacity": ("spot", "on_demand"),
    "Budget": ("per_run_usd", "per_month_usd"),
}

MODELS: dict[str, str] = {
    "Job": "A training job of Nightspot's.",
    "Schedule": "When runs start by themselves, in EventBridge Scheduler's syntax: a cron or a rate.",
    "Deadline": "When the model must be ready: at a time of day, or so long after the start.",
    "Capacity": "The ladder: instance types per market, best first.",
    "InstanceType": "An instance type by name, or a mapping with its pace and patience.",
    "ChangeOver": "Start-up plus restore in each market, estimated high; used until history takes over.",
    "Budget": "The most that one run, and all runs of a calendar month (UTC), may cost.",
    "Local": "How to train this job on this machine.",
    "Fallback": "What follows when Spot cannot make the deadline.",
    "Interruptible": "Where training goes on after a reclaim.",
    "Concurrency": "What happens to a run that begins while another of the same job is open.",
    "Policy": "How much of the time to the deadline Spot gets.",
}

DESCRIPTIONS: dict[str, str] = {
    "Job.name": "Unique among the job files; training jobs are called nightspot-<name>-<run>-<attempt>.",
    "Job.schedule": "When runs start by themselves; without it only by hand, console or API.",
    "Job.deadline": "When the model must be ready: at a time of day, or within a time from the start.",
    "Job.work": "Training time on the first rung, without start-up. A first guess: history takes over.",
    "Job.checkpoint_every": "The most work that a reclaim can cost; 30m by default, never longer than work.",
    "Job.capacity": "The ladder, best first: at least one instance type, none twice in a market.",
    "Job.change_over": "Start-up plus restore in each market, estimated high: a run that starts late is late.",
    "Job.fallback": "on_demand: buy on-demand while there is still time for it. never: skip the night.",
    "Job.interruptible": "from_checkpoint: Spot needs CheckpointConfig.S3Uri. from_start: starting over will do.",
    "Job.concurrency": "A run that begins while another is open: forbid refuses it, replace stops the older one, "
    "allow lets both go on.",
    "Job.policy": "patient: Spot as long as on-demand can still be in time. eager: each Spot type gets its "
    "patience once. on_demand: no Spot.",
    "Job.budget": "The most that may be spent; no limit without it.",
    "Job.training_job": "A CreateTrainingJob request as AWS writes it, without what Nightspot sets for each "
    "attempt. https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html",
    "Job.local": "How to train this job on this machine.",
    "Schedule.cron": "Six fields: minutes, hours, day of month, month, day of week, year; "
    "one of the day fields is ?.",
    "Schedule.rate": "A number of minutes, hours or days.",
    "Schedule.timezone": "A zone of the IANA database, for cron.",
    "Schedule.paused": "true: the schedule is deployed disabled, and runs start only by hand or through the API.",
    "Schedule.flexible": "How much later than scheduled a start may come, at Scheduler's choice: whole minutes, "
    "at most 24h. The deadline does not move.",
    "Deadline.at": "The model must be ready when the clocks next show this time. Quoted.",
    "Deadline.timezone": "The zone of `at`, of the IANA database.",
    "Deadline.within": "The model must be ready so long after the start.",
    "Capacity.spot": "Instance types to train on as managed Spot, best first.",
    "Capacity.on_demand": "Instance types to train on on-demand, best first.",
    "InstanceType.instance_type": "An instance type that SageMaker trains on.",
    "InstanceType.speed": "Pace relative to the first rung, which has 1.0.",
    "InstanceType.patience": "How long this type may be waited for before the next one's turn; at least 5m.",
    "ChangeOver.spot": "Start-up plus restore on Spot.",
    "ChangeOver.on_demand": "Start-up plus restore on-demand.",
    "Budget.per_run_usd": "The most that one run may cost over all its attempts, in USD.",
    "Budget.per_month_usd": "The most that all runs of a calendar month (UTC) may cost, in USD; "
    "at least per_run_usd.",
    "Local.command": "How to train, as a list of words.",
    "Local.time_scale": "Seconds of the story that pass in one real second.",
    "Local.environment": "Variables for the command; texts, so numbers are quoted.",
}
