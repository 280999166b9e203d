"""SageMaker, simulated: training jobs are processes."""
