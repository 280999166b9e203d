"""The job of the usual public example, which writes /opt/ml/checkpoints."""

import json

from nightspot.job.reading import parse_job


def example_job(command, **hyperparameters):
    """A small job that `command` trains on this machine, with these hyperparameters."""
    given = {name.replace("_", "-"): value for name, value in hyperparameters.items()}
    return parse_job(f"""
name: example
deadline: {{within: 1h}}
work: 10m
capacity: {{spot: [ml.m5.large]}}
fallback: never
training_job:
  RoleArn: arn:aws:iam::123456789012:role/training
  AlgorithmSpecification:
    TrainingImage: image
    TrainingInputMode: File
    MetricDefinitions:
      - {{Name: epoch, Regex: "epoch ([0-9]+)"}}
      - {{Name: loss, Regex: "loss=([0-9.]+)"}}
  HyperParameters: {json.dumps(given)}
  OutputDataConfig: {{S3OutputPath: "s3://models/example/"}}
  CheckpointConfig: {{S3Uri: "s3://checkpoints/example/"}}
  ResourceConfig: {{InstanceCount: 1, VolumeSizeInGB: 30}}
  StoppingCondition: {{MaxRuntimeInSeconds: 3600}}
local: {{command: {json.dumps([str(word) for word in command])}}}
""")
