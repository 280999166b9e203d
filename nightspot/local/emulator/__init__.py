"""An emulated AWS account that the stack is deployed to by the CDK command line: ministack, with a few patches."""
