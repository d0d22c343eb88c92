"""Thin, retrying adapters to the stores that every side uses: Redis cluster, S3, DynamoDB and Kinesis."""
