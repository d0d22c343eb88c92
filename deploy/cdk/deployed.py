"""The settings of a deployment: what each part finds in its properties, made of names and of the stream's one file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aws_cdk import Aws, Fn

from contracts.settings import PostgresqlSettings, Settings, to_properties
from deploy.cdk.names import Names
from deploy.cdk.stores import Stores
from deploy.stream_settings import stream_settings

__all__ = ["LOCAL_ONLY", "STREAM_ONLY", "deployed_settings", "encoded", "properties"]

LOCAL_ONLY = {
    "liveshelf": {"aws.endpoint": "names an emulator; on AWS the SDK finds the services itself"},
    "liveshelf.serving": {
        "spool.folder": "a disk that outlives the process; a function has a queue instead (spool.queue)",
    },
}
"""Properties that no deployment sets, and why."""

STREAM_ONLY = "liveshelf.streaming"
"""Functions and the service are not told it: their code may be older than a new property of the job, and would refuse
it (the service's image is built by hand)."""


def deployed_settings(names: Names, stores: Stores, shops: Sequence[str], part: str, **serving: Any) -> Settings:
    """The settings of one part. Values that only AWS knows are tokens: templates resolve them while they are deployed.

    ``serving`` are fields of the group of that name.
    """
    given = Settings.from_properties({"liveshelf.streaming": dict(stream_settings().streaming)})
    return replace(
        given,
        shops=tuple(shops),
        aws_region=Aws.REGION,
        stream_name=names.stream,
        lake_bucket=names.lake_bucket,
        redis_nodes=((stores.cache_endpoint, stores.cache_port),),
        redis_tls=True,
        redis_user=names.cache_user(part),
        redis_cache=names.cache,
        dynamodb_table=names.table,
        serving=replace(given.serving, **serving),
        **_persistent(stores),
    )


def _persistent(stores: Stores) -> dict[str, Any]:
    """PostgreSQL where there is one: RDS keeps the password in a secret of its own, and changes it."""
    if stores.database is None:
        return {}
    where = PostgresqlSettings(
        host=stores.database.attr_endpoint_address,
        auth="secret",
        secret=stores.database.attr_master_user_secret_secret_arn,
    )
    return {"persistent_store": "postgresql", "postgresql": where}


def properties(settings: Settings, *, without: str = "") -> list[dict[str, Any]]:
    """The property groups, but for one. The managed Flink service takes no empty value: what is not set is left out."""
    return [
        group | {"PropertyMap": {key: text for key, text in group["PropertyMap"].items() if text != ""}}
        for group in to_properties(settings)
        if group["PropertyGroupId"] != without
    ]


def encoded(text: str) -> str:
    """Base64, computed while the stack is deployed: passes every command line unharmed."""
    return str(Fn.base64(text))
