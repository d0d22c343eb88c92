"""The Kinesis source, behind one function, so that the connector can be replaced without touching the job."""

from pyflink.table import StreamTableEnvironment

from contracts.settings import Settings

__all__ = ["RECORDS", "create_source"]

RECORDS = "records"


def create_source(tables: StreamTableEnvironment, settings: Settings) -> None:
    """Create the table ``records``: raw bytes with the metadata that names a record (shard and sequence number).

    The format is ``raw``: format ``json`` would skip bad records without a word, and nothing may be lost.
    Connector 4.x is used, see ADR 0001; its successor cannot restore this source's state.
    """
    endpoint = f"'aws.endpoint' = '{settings.aws_endpoint}'," if settings.aws_endpoint else ""
    streaming = settings.streaming
    tables.execute_sql(
        f"""
        CREATE TEMPORARY TABLE {RECORDS} (
            data BYTES,
            shard_id STRING METADATA FROM 'shard-id' VIRTUAL,
            sequence_number STRING METADATA FROM 'sequence-number' VIRTUAL,
            arrived TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
        ) WITH (
            'connector' = 'kinesis',
            'stream' = '{settings.stream_name}',
            'aws.region' = '{settings.aws_region}',
            {endpoint}
            'scan.stream.initpos' = '{streaming.initial_position}',
            'scan.shard.getrecords.intervalmillis' = '{streaming.getrecords_interval_ms}',
            'scan.shard.getrecords.maxretries' = '10',
            'format' = 'raw'
        )
        """
    )
