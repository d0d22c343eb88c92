"""The contracts between the parts: events, items, features, keys, paths, lists, snapshots, settings and errors.

Every side imports this package and it imports no engine and no client: no Flink, Spark, boto3 or redis. What is
defined here (a field, a key, a path, a feature, the scoring formula) is defined nowhere else.
"""
