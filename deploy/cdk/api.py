"""The HTTP API: events, what operators see, and everything else; throttled, and every call logged."""

import json
from typing import Any, Final

from aws_cdk import Aws
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_lambda as functions
from aws_cdk import aws_logs as logs

from deploy.cdk.access import explain
from deploy.cdk.functions import Function
from deploy.cdk.names import Names, account_arn
from deploy.cdk.profiles import Profile

__all__ = ["Api"]

_ROUTES: Final = {"collector": ("POST /v1/events",), "control": ("ANY /v1/admin/{proxy+}",), "recommend": ("$default",)}
_LOGGED: Final = ("requestId", "routeKey", "status", "protocol", "responseLatency", "integrationErrorMessage", "ip")
"""No paths: they hold the ids of people."""


class Api:
    """``endpoint`` (https) and ``host``."""

    def __init__(
        self, scope: Any, *, names: Names, profile: Profile, group: logs.LogGroup, parts: dict[str, Function]
    ) -> None:
        self.api = gateway.CfnApi(
            scope, "Api", name=names.prefix, protocol_type="HTTP", description="Liveshelf: events and recommendations"
        )
        self.host = f"{self.api.ref}.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}"
        self.endpoint = f"https://{self.host}"
        for part, routes in _ROUTES.items():
            self._route(scope, part, parts[part], routes)
        names_of_fields = {field: "$context." + _CONTEXT.get(field, field) for field in _LOGGED}
        gateway.CfnStage(
            scope,
            "Stage",
            api_id=self.api.ref,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=gateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=group.log_group_arn, format=json.dumps(names_of_fields)
            ),
            default_route_settings=gateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=profile.requests_per_s,
                throttling_burst_limit=profile.burst,
                detailed_metrics_enabled=True,
            ),
        )

    def _route(self, scope: Any, part: str, function: Function, routes: tuple[str, ...]) -> None:
        integration = gateway.CfnIntegration(
            scope,
            f"{part.title()}Integration",
            api_id=self.api.ref,
            integration_type="AWS_PROXY",
            integration_uri=function.entry,
            payload_format_version="2.0",
            timeout_in_millis=30_000 if part == "control" else 12_000,  # each a second more than its function
        )
        for number, route in enumerate(routes):
            made = gateway.CfnRoute(
                scope,
                f"{part.title()}Route{number}",
                api_id=self.api.ref,
                route_key=route,
                target=f"integrations/{integration.ref}",
                authorization_type="NONE",
            )
            explain(made, {"APIG4": "The application checks API keys and their scopes itself, alike on every host."})
        functions.CfnPermission(
            scope,
            f"{part.title()}Permission",
            action="lambda:InvokeFunction",
            function_name=function.entry,
            principal="apigateway.amazonaws.com",
            source_arn=account_arn("execute-api", f"{self.api.ref}/*/*"),
        )


_CONTEXT: Final = {"ip": "identity.sourceIp"}
