"""The pages: a private bucket behind CloudFront, which also brings the API under the same name."""

from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3 as s3

from deploy.cdk.access import explain
from deploy.cdk.names import Names

__all__ = ["Pages"]

_STREAMED: Final = "/v1/*/stream"
"""Server-sent events: functions cannot send them, the service can."""


class Pages:
    """``bucket`` and ``distribution``."""

    def __init__(
        self,
        scope: Any,
        *,
        names: Names,
        api_host: str,
        domain: str | None,
        certificate_arn: str | None,
        service: cloudfront.IOrigin | None,
    ) -> None:
        self.bucket = _bucket(scope, names)
        logs = s3.Bucket.from_bucket_attributes(
            scope,
            "PageLogs",
            bucket_name=names.access_log_bucket,
            bucket_regional_domain_name=f"{names.access_log_bucket}.s3.amazonaws.com",
        )
        pages = origins.S3BucketOrigin.with_origin_access_control(self.bucket)
        api = cloudfront.BehaviorOptions(
            origin=origins.HttpOrigin(
                api_host,
                protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
                origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            ),
            **_UNCACHED,
        )
        behaviours = {"/v1/*": api, "/openapi.json": api}  # /docs, a page, draws the latter
        if service is not None:
            behaviours = {_STREAMED: cloudfront.BehaviorOptions(origin=service, **_UNCACHED)} | behaviours
        certificate = (
            certificates.Certificate.from_certificate_arn(scope, "Certificate", certificate_arn)
            if certificate_arn
            else None
        )
        self.distribution = cloudfront.Distribution(
            scope,
            "Distribution",
            comment=f"{names.prefix}: pages and API",
            default_root_object="index.html",
            default_behavior=cloudfront.BehaviorOptions(
                origin=pages,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
                response_headers_policy=_headers(scope, names),
            ),
            additional_behaviors=behaviours,
            domain_names=[domain] if domain else None,
            certificate=certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
            enable_logging=True,
            log_bucket=logs,
            log_file_prefix="pages/",
        )
        reasons = {
            "CFR1": "A shop sells where it likes; it restricts countries itself where it has to.",
            "CFR2": "A web ACL costs more than the smallest deployment; docs/deploy.md says how to attach one.",
        }
        if certificate is None:
            reasons["CFR4"] = (
                "Without a domain of its own the distribution has CloudFront's certificate and its protocols."
            )
        explain(self.distribution, reasons)


_UNCACHED: Final[dict[str, Any]] = {
    "viewer_protocol_policy": cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
    "allowed_methods": cloudfront.AllowedMethods.ALLOW_ALL,
    "cache_policy": cloudfront.CachePolicy.CACHING_DISABLED,
    "origin_request_policy": cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
}


def _bucket(scope: Any, names: Names) -> s3.Bucket:
    return s3.Bucket(
        scope,
        "Pages",
        bucket_name=names.pages_bucket,
        # Public to everybody by CloudFront: a key of our own would protect nothing and has to be lent to CloudFront.
        encryption=s3.BucketEncryption.S3_MANAGED,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        server_access_logs_bucket=s3.Bucket.from_bucket_name(scope, "PagesLogs", names.access_log_bucket),
        server_access_logs_prefix="pages-bucket/",
        removal_policy=RemovalPolicy.DESTROY,  # made anew by every deployment
    )


def _headers(scope: Any, names: Names) -> cloudfront.ResponseHeadersPolicy:
    """What a browser may do with a page: nothing from elsewhere, no frames, TLS for a year."""
    own = cloudfront
    policy = "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data: https:",
            "style-src 'self' 'unsafe-inline'",  # bars have their length, charts their colour, in the element
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
    return own.ResponseHeadersPolicy(
        scope,
        "Headers",
        response_headers_policy_name=f"{names.prefix}-pages",
        security_headers_behavior=own.ResponseSecurityHeadersBehavior(
            content_security_policy=own.ResponseHeadersContentSecurityPolicy(
                content_security_policy=policy, override=True
            ),
            content_type_options=own.ResponseHeadersContentTypeOptions(override=True),
            frame_options=own.ResponseHeadersFrameOptions(frame_option=own.HeadersFrameOption.DENY, override=True),
            referrer_policy=own.ResponseHeadersReferrerPolicy(
                referrer_policy=own.HeadersReferrerPolicy.STRICT_ORIGIN_WHEN_CROSS_ORIGIN, override=True
            ),
            strict_transport_security=own.ResponseHeadersStrictTransportSecurity(
                access_control_max_age=Duration.days(365), include_subdomains=True, override=True
            ),
        ),
    )
