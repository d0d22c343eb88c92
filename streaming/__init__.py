"""The PyFlink job: live features and live recommendations from the behaviour stream."""
