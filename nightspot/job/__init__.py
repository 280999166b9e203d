"""Whether a job file describes a job that can run, and the job as data.

Pure: no boto3, no clock, no environment; botocore's model is read only to check the request.
"""
