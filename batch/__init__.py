"""The trainer: a Spark job that turns the event lake into a published least-squares model."""
