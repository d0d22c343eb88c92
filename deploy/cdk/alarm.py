"""One alarm of CloudWatch from its description, see :mod:`deploy.cdk.alarms`."""

from typing import Any, Final

from aws_cdk import aws_cloudwatch as cloudwatch

from deploy.cdk.alarms import Watch
from deploy.cdk.names import Names

__all__ = ["add_alarm"]

_RUNBOOK: Final = "docs/runbook"


def add_alarm(scope: Any, names: Names, watch: Watch, topic: str) -> cloudwatch.CfnAlarm:
    """The alarm, which tells the topic when it goes off and when it is over."""
    own = cloudwatch.CfnAlarm
    if watch.query:
        metrics = [own.MetricDataQueryProperty(id="q", expression=watch.query, period=watch.period_s, return_data=True)]
    else:
        metrics = [
            own.MetricDataQueryProperty(
                id=key,
                metric_stat=own.MetricStatProperty(
                    metric=own.MetricProperty(
                        namespace=figure.namespace,
                        metric_name=figure.name,
                        dimensions=[own.DimensionProperty(name=k, value=v) for k, v in figure.dimensions.items()],
                    ),
                    period=watch.period_s,
                    stat=figure.statistic,
                ),
                return_data=watch.expression == key,
            )
            for key, figure in watch.figures.items()
        ]
        if watch.expression not in watch.figures:
            metrics.append(
                own.MetricDataQueryProperty(id="told", expression=watch.expression, label=watch.name, return_data=True)
            )
    step = watch.period_s // 60
    return own(
        scope,
        "".join(part.title() for part in watch.name.split("-")),
        alarm_name=f"{names.prefix}-{watch.name}",
        alarm_description=f"{watch.meaning} What to do: {_RUNBOOK}/{watch.name}.md",
        comparison_operator="GreaterThanThreshold",
        threshold=watch.threshold,
        evaluation_periods=-(-watch.minutes // step),
        datapoints_to_alarm=-(-watch.of // step),
        metrics=metrics,
        treat_missing_data=watch.missing,
        alarm_actions=[topic],
        ok_actions=[topic],
    )
