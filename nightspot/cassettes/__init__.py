"""Recorded lives of training jobs: what SageMaker, EventBridge and S3 said of a job, and when; no names."""
