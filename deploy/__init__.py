"""What goes to AWS: infrastructure code, packaging and the jars of the engines."""
