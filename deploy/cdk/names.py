"""Every physical name and ARN of a deployment, made of the profile's name alone.

Names that are known before anything exists let a policy name its resources exactly, and keep stacks apart: an export
that another stack imports cannot be changed, a name can be looked up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Aws

from deploy.cdk.profiles import Profile

__all__ = ["Names", "account_arn", "names_of", "shown"]


def account_arn(service: str, rest: str) -> str:
    """The ARN of something in the deployment's account and region."""
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{rest}"


def shown(arn: str, known: Mapping[str, str] | None = None) -> str:
    """An ARN as cdk-nag prints it: tokens in angle brackets, those of ``known`` by their names there."""
    pseudo = {
        Aws.PARTITION: "AWS::Partition",
        Aws.REGION: "AWS::Region",
        Aws.ACCOUNT_ID: "AWS::AccountId",
        Aws.URL_SUFFIX: "AWS::URLSuffix",
    }
    for token, name in (pseudo | dict(known or {})).items():
        arn = arn.replace(token, f"<{name}>")
    return arn


@dataclass(frozen=True, slots=True)
class Names:
    """Names of what a deployment is made of. Bucket names hold account and region: they are unique in the world."""

    prefix: str

    def _bucket(self, purpose: str) -> str:
        return f"{self.prefix}-{purpose}-{Aws.ACCOUNT_ID}-{Aws.REGION}"

    @property
    def lake_bucket(self) -> str:
        return self._bucket("lake")

    @property
    def artefact_bucket(self) -> str:
        return self._bucket("artefacts")

    @property
    def pages_bucket(self) -> str:
        return self._bucket("pages")

    @property
    def access_log_bucket(self) -> str:
        return self._bucket("logs")

    @property
    def stream(self) -> str:
        return f"{self.prefix}-behaviour"

    @property
    def delivery(self) -> str:
        return f"{self.prefix}-to-lake"

    @property
    def database(self) -> str:
        """Of the Glue catalogue: Athena wants no hyphens."""
        return self.prefix.replace("-", "_")

    @property
    def table(self) -> str:
        return self.prefix

    @property
    def cache(self) -> str:
        return self.prefix

    @property
    def flink(self) -> str:
        return f"{self.prefix}-stream"

    @property
    def machine(self) -> str:
        return f"{self.prefix}-training"

    @property
    def topic(self) -> str:
        return f"{self.prefix}-alarms"

    @property
    def images(self) -> str:
        """The repository of the service's image."""
        return f"{self.prefix}-service"

    @property
    def service(self) -> str:
        """The service on Fargate, in a cluster that bears the prefix."""
        return f"{self.prefix}-service"

    @property
    def keys_secret(self) -> str:
        return f"{self.prefix}/keys"

    def function_arn(self, part: str) -> str:
        return account_arn("lambda", f"function:{self.prefix}-{part}")

    def queue_arn(self, queue: str) -> str:
        return account_arn("sqs", f"{self.prefix}-{queue}")

    def log_group(self, part: str) -> str:
        return f"/liveshelf/{self.prefix}/{part}"

    def log_group_arn(self, part: str) -> str:
        return account_arn("logs", f"log-group:{self.log_group(part)}")

    @staticmethod
    def bucket_arn(bucket: str, keys: str = "") -> str:
        """Of a bucket, or of the objects whose keys match."""
        return f"arn:{Aws.PARTITION}:s3:::{bucket}" + (f"/{keys}" if keys else "")

    @property
    def stream_arn(self) -> str:
        return account_arn("kinesis", f"stream/{self.stream}")

    @property
    def table_arn(self) -> str:
        return account_arn("dynamodb", f"table/{self.table}")

    @property
    def topic_arn(self) -> str:
        return account_arn("sns", self.topic)

    @property
    def machine_arn(self) -> str:
        return account_arn("states", f"stateMachine:{self.machine}")

    def cache_user(self, part: str) -> str:
        """The ElastiCache user of a part. With IAM login the user's id and name have to be equal, and lower case."""
        return f"{self.prefix}-{part}"

    def cache_arns(self, part: str) -> list[str]:
        """What a part's role may connect to: the cache, as the part's user and no other."""
        return [
            account_arn("elasticache", f"serverlesscache:{self.cache}"),
            account_arn("elasticache", f"user:{self.cache_user(part)}"),
        ]


def names_of(profile: Profile) -> Names:
    """The names of the deployment of a profile."""
    return Names(f"liveshelf-{profile.name}")
