"""The control room's reads: figures of the stream, health, models, experiments, rejected records; never a 5xx."""
