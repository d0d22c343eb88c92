"""Every S3 path: the event lake by arrival day (all shops), everything else below ``shop=<id>/``."""

from datetime import date
from typing import Final

__all__ = [
    "ERRORS_PREFIX",
    "EVENTS_PREFIX",
    "UNKNOWN_SHOP",
    "attribution_items_path",
    "attribution_prefix",
    "attribution_summary_path",
    "attribution_totals_path",
    "attribution_units_path",
    "base_path",
    "catalogue_path",
    "compacted_path",
    "contents_path",
    "dataset_prefix",
    "day_prefix",
    "experiment_results_path",
    "experiments_path",
    "features_day_prefix",
    "model_prefix",
    "models_prefix",
    "moments_prefix",
    "new_items_path",
    "people_path",
    "pointer_path",
    "refused_report_path",
    "report_path",
    "rules_path",
    "visitors_path",
]

EVENTS_PREFIX: Final = "events/"
ERRORS_PREFIX: Final = "events-errors/"
UNKNOWN_SHOP: Final = "_unknown"
"""The dead letters' shop: of whom an unreadable record is cannot be read either. No shop is called so."""


def day_prefix(day: date) -> str:
    """The folder of one *arrival* day, as Firehose names it.

    >>> day_prefix(date(2026, 1, 5))
    'events/year=2026/month=01/day=05/'
    """
    return f"{EVENTS_PREFIX}year={day:%Y}/month={day:%m}/day={day:%d}/"


def dataset_prefix(shop: str, dataset: str) -> str:
    """Where Flink writes ``features``, ``dead-letter`` or ``served``; Hive-style all the way, see ADR 0005.

    >>> dataset_prefix("default", "features")
    'shop=default/dataset=features/'
    """
    return f"shop={shop}/dataset={dataset}/"


def features_day_prefix(shop: str, entity: str, day: date, dataset: str = "features") -> str:
    """The bucket values of the windows that began on a day, in folders ``hour=HH/`` of many files.

    >>> features_day_prefix("default", "item", date(2026, 1, 5))
    'shop=default/dataset=features/entity=item/year=2026/month=01/day=05/'
    """
    return f"{dataset_prefix(shop, dataset)}entity={entity}/year={day:%Y}/month={day:%m}/day={day:%d}/"


def compacted_path(shop: str, entity: str, day: date, hour: int) -> str:
    """The one file of an hour's bucket values, see :mod:`batch.compact`.

    >>> compacted_path("default", "item", date(2026, 1, 5), 7)
    'shop=default/dataset=features-compact/entity=item/year=2026/month=01/day=05/hour=07/features.parquet'
    """
    return f"{features_day_prefix(shop, entity, day, 'features-compact')}hour={hour:02}/features.parquet"


def catalogue_path(shop: str) -> str:
    """The catalogue file, see :mod:`contracts.items`."""
    return f"shop={shop}/catalogue/items.jsonl.gz"


def rules_path(shop: str) -> str:
    """The merchandising rules, see :mod:`contracts.rules`; it may be absent. Replaced only if it is as it was read.

    >>> rules_path("default")
    'shop=default/rules/rules.json'
    """
    return f"shop={shop}/rules/rules.json"


def visitors_path(shop: str) -> str:
    """A JSON array of a few known user ids that the storefront page offers to look through; it may be absent."""
    return f"shop={shop}/catalogue/visitors.json"


def experiments_path(shop: str) -> str:
    """The shop's experiments, one JSON document (:mod:`contracts.experiments`); absent: none.

    It is replaced as a whole. Writers name the entity tag they read (``If-Match``), so that no change is lost.
    """
    return f"shop={shop}/serving/experiments.json"


def experiment_results_path(shop: str, experiment_id: str) -> str:
    """What an experiment has shown so far, as :class:`contracts.experiment_results.ExperimentResults`."""
    return f"shop={shop}/serving/experiment-results/{experiment_id}.json"


def new_items_path(shop: str) -> str:
    """Which items are not new any more, and how the new ones did (:mod:`contracts.exploration`); gzipped JSON."""
    return f"shop={shop}/serving/new-items.json.gz"


def attribution_prefix(shop: str) -> str:
    """Impressions, and what they led to, see :mod:`batch.attribution`."""
    return f"shop={shop}/dataset=attribution/"


def attribution_totals_path(shop: str, day: date) -> str:
    """One row for each list, placement, model version and variant of a UTC day.

    >>> attribution_totals_path("default", date(2026, 1, 5))
    'shop=default/dataset=attribution/table=totals/year=2026/month=01/day=05/totals.parquet'
    """
    return f"{attribution_prefix(shop)}table=totals/year={day:%Y}/month={day:%m}/day={day:%d}/totals.parquet"


def attribution_units_path(shop: str, day: date) -> str:
    """One row for each unit of each experiment that was in it on a UTC day."""
    return f"{attribution_prefix(shop)}table=units/year={day:%Y}/month={day:%m}/day={day:%d}/units.parquet"


def attribution_items_path(shop: str, day: date) -> str:
    """One row for each item that was shown on a UTC day."""
    return f"{attribution_prefix(shop)}table=items/year={day:%Y}/month={day:%m}/day={day:%d}/items.parquet"


def attribution_summary_path(shop: str) -> str:
    """The newest weeks together, as :class:`contracts.attribution.AttributionSummary`."""
    return f"shop={shop}/serving/attribution.json"


def moments_root(shop: str) -> str:
    """Everything the trainer keeps from one run to the next: days, months, and what the lake's objects hold."""
    return f"shop={shop}/moments/"


def moments_prefix(shop: str, day: date) -> str:
    """The sufficient statistics of the units that began on one UTC day."""
    return f"{moments_root(shop)}day={day:%Y-%m-%d}/"


def rollup_path(shop: str, month: date, key: str) -> str:
    """The sum of the days of a month, immutable; ``key`` is a digest of what it is the sum of.

    >>> rollup_path("default", date(2026, 1, 5), "ab12")
    'shop=default/moments/month=2026-01/ab12.parquet'
    """
    return f"{moments_root(shop)}month={month:%Y-%m}/{key}.parquet"


def base_path(shop: str, key: str) -> str:
    """The sum of all closed months of a window, immutable; ``key`` as in :func:`rollup_path`."""
    return f"{moments_root(shop)}base/{key}.parquet"


def contents_path(shop: str) -> str:
    """Which days of the shop's events each object of the lake holds, see :mod:`batch.contents`."""
    return f"{moments_root(shop)}contents.json.gz"


def scratch_prefix(shop: str, run: str) -> str:
    """Arrays that the tasks of one run on a cluster hand to each other; deleted when it ends."""
    return f"shop={shop}/scratch/{run}/"


def models_prefix(shop: str) -> str:
    """All model snapshots of a shop."""
    return f"shop={shop}/models/"


def model_prefix(shop: str, version: str) -> str:
    """One immutable model snapshot."""
    return f"{models_prefix(shop)}{version}/"


def people_path(shop: str, version: str) -> str:
    """Who has a list of a version: a gzipped JSON array of subjects, beside the snapshot, for checks and repairs."""
    return f"{model_prefix(shop, version)}people.json.gz"


def pointer_path(shop: str) -> str:
    """Mirror of the CURRENT version for readers of S3 (Flink); the DynamoDB row is the authority."""
    return f"{models_prefix(shop)}current.json"


def report_path(shop: str, version: str) -> str:
    """The page that tells how a model came to be, beside its snapshot.

    >>> report_path("default", "20260102T030405Z-822dd6")
    'shop=default/models/20260102T030405Z-822dd6/report.html'
    """
    return f"{model_prefix(shop, version)}report.html"


def refused_report_path(shop: str, version: str) -> str:
    """The same page of a run that was not published: it has no snapshot, and nothing else is kept of it.

    >>> refused_report_path("default", "20260102T030405Z-822dd6")
    'shop=default/reports/20260102T030405Z-822dd6.html'
    """
    return f"shop={shop}/reports/{version}.html"


def outcome_path(shop: str, run: str, step: str) -> str:
    """What came out of one step of a run on AWS, see :mod:`batch.step`.

    >>> outcome_path("default", "daily-1", "train")
    'shop=default/runs/daily-1/train.json'
    """
    return f"shop={shop}/runs/{run}/{step}.json"
