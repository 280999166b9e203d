"""Stories on an emulated AWS account; a package, so that its fixtures end with it."""
