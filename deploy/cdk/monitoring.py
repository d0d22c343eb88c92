"""Stack ``monitoring``: alarms, one dashboard, questions to the logs, and the budget."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import Aws, CfnOutput, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs

from deploy.cdk.alarm import add_alarm
from deploy.cdk.alarms import Figure, Watch, watches
from deploy.cdk.names import Names, account_arn
from deploy.cdk.profiles import Profile

__all__ = ["QUERIES", "Monitoring"]

QUERIES: Final[Mapping[str, tuple[str, str]]] = {
    "stream: errors of Python": (
        "stream",
        "fields @timestamp, logger, message, throwableInformation\n"
        "| filter logger like /PythonDriver/ or message like /Traceback|PythonException/\n| sort @timestamp desc",
    ),
    "stream: why it restarted": (
        "stream",
        "fields @timestamp, message, throwableInformation\n"
        "| filter message like /from RUNNING to (FAILED|RESTARTING|CANCELING)/\n| sort @timestamp desc",
    ),
    "stream: options in force": (
        "stream",
        "fields @timestamp, message\n| filter message like / = / and logger like /PythonDriver|root/\n"
        "| sort @timestamp desc | limit 60",
    ),
    "training: seconds of each stage": (
        "training",
        'fields @timestamp, @message\n| parse @message "train: * * s" as stage, seconds\n'
        "| filter ispresent(seconds)\n| stats max(seconds) by stage, bin(1d)",
    ),
    "training: outcomes": (
        "training",
        "fields @timestamp, @message\n| filter @message like /^step: /\n| sort @timestamp desc",
    ),
    "api: slowest routes": (
        "api",
        "stats count() as calls, pct(responseLatency, 50) as p50, pct(responseLatency, 99) as p99 by routeKey, status\n"
        "| sort p99 desc",
    ),
    "api: faults": ("api", "filter status >= 500\n| stats count() by routeKey, integrationErrorMessage, bin(5m)"),
    "functions: errors": (
        "recommend",
        'fields @timestamp, message, errorType\n| filter level in ["ERROR", "CRITICAL"] or ispresent(errorType)\n'
        "| sort @timestamp desc",
    ),
    "lake: what Firehose could not deliver": ("delivery", "fields @timestamp, @message\n| sort @timestamp desc"),
}
"""Questions to the logs: name, log group's part, query."""


class Monitoring(Stack):
    """``alarms`` by name; the dashboard also shows those of other stacks, whose names are ``beside``."""

    def __init__(
        self,
        scope: Any,
        id: str,
        *,
        names: Names,
        profile: Profile,
        api_id: str,
        topic_arn: str,
        beside: Sequence[str] = (),
        **rest: Any,
    ) -> None:
        super().__init__(scope, id, **rest)
        found = watches(names, profile, api_id)
        self.alarms = {watch.name: add_alarm(self, names, watch, topic_arn) for watch in found}
        for number, (name, (part, query)) in enumerate(QUERIES.items()):
            logs.CfnQueryDefinition(
                self,
                f"Query{number}",
                name=f"{names.prefix}/{name}",
                query_string=query,
                log_group_names=[names.log_group(part)],
            )
        cloudwatch.CfnDashboard(
            self, "Dashboard", dashboard_name=names.prefix, dashboard_body=json.dumps(_dashboard(names, found, beside))
        )
        _budget(self, names, profile, topic_arn)
        CfnOutput(self, "DashboardName", value=names.prefix)


def _dashboard(names: Names, found: Sequence[Watch], beside: Sequence[str]) -> dict[str, Any]:
    """One page: all alarms on top, below them each one's figures with its threshold."""
    every = [*(watch.name for watch in found), *beside]
    alarms = [account_arn("cloudwatch", f"alarm:{names.prefix}-{name}") for name in every]
    widgets: list[dict[str, Any]] = [
        {"type": "alarm", "x": 0, "y": 0, "width": 24, "height": 5, "properties": {"title": "Alarms", "alarms": alarms}}
    ]
    for number, watch in enumerate(found):
        widgets.append(
            {
                "type": "metric",
                "x": 8 * (number % 3),
                "y": 5 + 6 * (number // 3),
                "width": 8,
                "height": 6,
                "properties": {
                    "title": watch.name,
                    "region": Aws.REGION,
                    "period": watch.period_s,
                    "metrics": _lines(watch),
                    "annotations": {"horizontal": [{"label": "alarm above", "value": watch.threshold}]},
                },
            }
        )
    return {"start": "-PT6H", "widgets": widgets}


def _lines(watch: Watch) -> list[Any]:
    if watch.query:
        return [[{"expression": watch.query, "id": "q", "label": watch.name}]]
    lines: list[Any] = [
        [*_address(figure), {"id": key, "stat": figure.statistic, "visible": watch.expression == key}]
        for key, figure in watch.figures.items()
    ]
    if watch.expression not in watch.figures:
        lines.append([{"expression": watch.expression, "id": "told", "label": watch.name}])
    return lines


def _address(figure: Figure) -> list[str]:
    return [figure.namespace, figure.name, *(part for pair in figure.dimensions.items() for part in pair)]


def _budget(scope: Any, names: Names, profile: Profile, topic: str) -> None:
    """Says so when 80 % of the month's money are spent, and when the forecast is above all of it."""
    own = budgets.CfnBudget
    subscriber = own.SubscriberProperty(subscription_type="SNS", address=topic)
    own(
        scope,
        "Budget",
        budget=own.BudgetDataProperty(
            budget_name=names.prefix,
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=own.SpendProperty(amount=profile.budget_usd, unit="USD"),
            cost_filters={"TagKeyValue": [f"user:liveshelf${names.prefix}"]},
        ),
        notifications_with_subscribers=[
            own.NotificationWithSubscribersProperty(
                notification=own.NotificationProperty(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=threshold,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[subscriber],
            )
            for kind, threshold in (("ACTUAL", 80), ("FORECASTED", 100))
        ],
    )
