"""The Glue tables by which Athena reads the lake: partitions are computed from the path, so none has to be added."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import Aws
from aws_cdk import aws_glue as glue

from contracts.attribution import ITEM_COLUMNS, TOTAL_COLUMNS, UNIT_COLUMNS
from contracts.datasets import DATASETS, Dataset
from contracts.lake import EVENTS_PREFIX, attribution_prefix

__all__ = ["add_tables"]

_GLUE: Final = {
    "STRING": "string",
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DOUBLE": "double",
    "TIMESTAMP(3)": "timestamp",
    "BYTES": "binary",
}
_HIVE: Final = {"long": "bigint"}
_ATTRIBUTION: Final = {"totals": TOTAL_COLUMNS, "units": UNIT_COLUMNS, "items": ITEM_COLUMNS}
_DAYS: Final = ("shop", "year", "month", "day")
_RANGES: Final = {"year": ("2024,2044", 4), "month": ("1,12", 2), "day": ("1,31", 2), "hour": ("0,23", 2)}

# As in an event (contracts.events); unknown fields stay in the objects. Times are text: RFC 3339 as it was sent.
_EVENT: Final = {
    **dict.fromkeys(("shop_id", "event_id", "event_type", "user_id", "anonymous_id", "session_id"), "string"),
    **dict.fromkeys(("item_id", "occurred_at", "received_at", "currency", "request_id", "variant"), "string"),
    "quantity": "int",
    "price": "double",
    "position": "int",
    "schema_version": "int",
}
_JSON: Final = (
    "org.apache.hadoop.mapred.TextInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "org.openx.data.jsonserde.JsonSerDe",
    {"ignore.malformed.json": "true"},
)
_PARQUET: Final = (
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    {"serialization.format": "1"},
)


def add_tables(scope: Any, *, database: glue.CfnDatabase, bucket: str, shops: Sequence[str]) -> None:
    """Tables ``events``, those of the stream (:mod:`contracts.datasets`) and of the attribution, in a database."""
    _table(scope, database, bucket, "events", _EVENT, ("year", "month", "day"), EVENTS_PREFIX, _JSON, shops)
    for name, kinds in _ATTRIBUTION.items():
        columns = {column: _HIVE.get(kind, kind) for column, kind in kinds.items()}
        folders = f"{attribution_prefix('${shop}')}table={name}/"
        _table(scope, database, bucket, f"attribution_{name}", columns, _DAYS, folders, _PARQUET, shops)
    for name, dataset in DATASETS.items():
        columns = {column: _GLUE[kind] for column, kind in dataset.columns.items()}
        keys = [key for key in dataset.partition if key not in {"dataset", "entity"}]
        _table(scope, database, bucket, name, columns, keys, _folders(dataset), _PARQUET, shops)


def _folders(dataset: Dataset) -> str:
    """The constant folders of a dataset behind its shop; the computed ones follow."""
    return f"shop=${{shop}}/dataset={dataset.name}/" + (f"entity={dataset.entity}/" if dataset.entity else "")


def _table(
    scope: Any,
    database: glue.CfnDatabase,
    bucket: str,
    name: str,
    columns: Mapping[str, str],
    keys: Sequence[str],
    folders: str,
    form: tuple[str, str, str, dict[str, str]],
    shops: Sequence[str],
) -> None:
    times = [key for key in keys if key != "shop"]
    template = f"s3://{bucket}/{folders}" + "".join(f"{key}=${{{key}}}/" for key in times)
    reads, writes, serde, options = form
    glue.CfnTable(
        scope,
        "Table" + "".join(part.title() for part in name.split("_")),
        catalog_id=Aws.ACCOUNT_ID,
        database_name=str(database.ref),
        table_input=glue.CfnTable.TableInputProperty(
            name=name,
            table_type="EXTERNAL_TABLE",
            parameters=_projection(keys, template, shops),
            partition_keys=[
                glue.CfnTable.ColumnProperty(name=key, type="string" if key == "shop" else "int") for key in keys
            ],
            storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                columns=[glue.CfnTable.ColumnProperty(name=key, type=kind) for key, kind in columns.items()],
                location=f"s3://{bucket}/{folders.partition('$')[0].removesuffix('shop=')}",
                input_format=reads,
                output_format=writes,
                serde_info=glue.CfnTable.SerdeInfoProperty(serialization_library=serde, parameters=options),
            ),
        ),
    )


def _projection(keys: Sequence[str], template: str, shops: Sequence[str]) -> dict[str, str]:
    """Table properties of partition projection (Athena user guide, "Partition projection")."""
    out = {"projection.enabled": "true", "storage.location.template": template}
    for key in keys:
        if key == "shop":
            out |= {"projection.shop.type": "enum", "projection.shop.values": ",".join(shops)}
            continue
        span, digits = _RANGES[key]
        out |= {f"projection.{key}.type": "integer", f"projection.{key}.range": span}
        out[f"projection.{key}.digits"] = str(digits)
    return out
