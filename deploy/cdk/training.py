"""Stack ``training``: where Spark runs, the state machine that trains, and its schedules."""

import json
from collections.abc import Sequence
from typing import Any, Final

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_emrserverless as emr
from aws_cdk import aws_kms as kms
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_stepfunctions as states

from deploy.artefacts import Artefacts
from deploy.cdk.access import allow, service_role
from deploy.cdk.cluster import Cluster
from deploy.cdk.deployed import deployed_settings, encoded, properties
from deploy.cdk.machine import DAILY, HOURLY, definition, run_input
from deploy.cdk.names import Names, account_arn
from deploy.cdk.network import Network, log_group
from deploy.cdk.profiles import Profile
from deploy.cdk.stores import Stores
from deploy.cdk.training_access import grant_job, grant_machine

__all__ = ["RELEASE", "Training"]

RELEASE: Final = "emr-7.13.0"
_PYTHON: Final = "./environment/bin/python"
_TIMES: Final = {DAILY: "cron(15 2 * * ? *)", HOURLY: "cron(40 * * * ? *)"}


class Training(Stack):
    """``machine`` and ``job_role``."""

    def __init__(
        self,
        scope: Any,
        id: str,
        *,
        names: Names,
        profile: Profile,
        network: Network,
        stores: Stores,
        shops: Sequence[str],
        artefacts: Artefacts,
        key: kms.IKey,
        **rest: Any,
    ) -> None:
        super().__init__(scope, id, **rest)
        self._names, self._profile, self._network, self._key = names, profile, network, key
        log_group(self, "JobLogs", names=names, part="training", key=key, days=profile.log_days)
        self.application = self._serverless()
        self.job_role = service_role(
            self,
            "JobRole",
            "emr-serverless.amazonaws.com",
            description="Spark jobs: read events, write sums, models and lists",
        )
        grant_job(self.job_role, names, shops, artefacts, key)
        cluster = None
        if profile.training == "cluster":
            cluster = Cluster(self, names=names, network=network, shops=shops, artefacts=artefacts, key=key)
        if stores.database is not None:
            secret = stores.database.attr_master_user_secret_secret_arn
            for role in (self.job_role, *((cluster.node_role,) if cluster else ())):
                allow(role, ["secretsmanager:GetSecretValue"], [secret])
        text = json.dumps(properties(deployed_settings(names, stores, shops, "trainer")))
        self.machine = self._machine(artefacts, encoded(text), cluster)
        self._schedules(shops)
        CfnOutput(self, "StateMachine", value=names.machine_arn)
        CfnOutput(self, "EmrApplication", value=self.application.attr_application_id)
        CfnOutput(self, "JobRoleArn", value=self.job_role.role_arn)
        CfnOutput(self, "LogGroup", value=names.log_group("training"))

    def _serverless(self) -> emr.CfnApplication:
        size, own = self._profile, emr.CfnApplication
        cores = size.driver_cores + size.executors * size.executor_cores
        memory = size.driver_memory_gb + size.executors * size.executor_memory_gb
        # Spark adds a tenth of a worker's memory to it; two jobs may run at once, the hourly beside the daily one.
        most = own.MaximumAllowedResourcesProperty(
            cpu=f"{2 * cores} vCPU",
            memory=f"{2 * -(-memory * 12 // 10)} GB",
            disk=f"{2 * size.scratch_gb * (1 + size.executors)} GB",
        )
        return own(
            self,
            "Spark",
            name=f"{self._names.prefix}-training",
            release_label=RELEASE,
            type="SPARK",
            architecture="X86_64",
            maximum_capacity=most,
            auto_start_configuration=own.AutoStartConfigurationProperty(enabled=True),
            auto_stop_configuration=own.AutoStopConfigurationProperty(enabled=True, idle_timeout_minutes=5),
            network_configuration=own.NetworkConfigurationProperty(
                security_group_ids=[self._network.groups["training"].security_group_id],
                subnet_ids=self._network.inside.subnet_ids,
            ),
        )

    def _spark_words(self, artefacts: Artefacts) -> str:
        size = self._profile
        options = {
            "spark.archives": f"s3://{self._names.artefact_bucket}/{artefacts.spark_environment.key}#environment",
            "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": _PYTHON,
            "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": _PYTHON,
            "spark.executorEnv.PYSPARK_PYTHON": _PYTHON,
            "spark.driver.cores": size.driver_cores,
            "spark.driver.memory": f"{size.driver_memory_gb}g",
            "spark.emr-serverless.driver.disk": f"{size.scratch_gb}g",
            "spark.executor.cores": size.executor_cores,
            "spark.executor.memory": f"{size.executor_memory_gb}g",
            "spark.emr-serverless.executor.disk": f"{size.scratch_gb}g",
            "spark.dynamicAllocation.maxExecutors": size.executors,
        }
        return " ".join(f"--conf {key}={value}" for key, value in options.items())

    def _machine(self, artefacts: Artefacts, settings: str, cluster: Cluster | None) -> states.CfnStateMachine:
        names, size = self._names, self._profile
        group = log_group(self, "MachineLogs", names=names, part="machine", key=self._key, days=size.log_days)
        role = service_role(
            self, "MachineRole", "states.amazonaws.com", description="Runs the training and says how it ended"
        )
        grant_machine(role, names, self.application.attr_application_id, self.job_role, self._key)
        if cluster is not None:
            cluster.grant_runner(role)
        common = {
            "Prefix": names.prefix,
            "Lake": names.lake_bucket,
            "Topic": names.topic_arn,
            "Key": self._key.key_arn,
            "Settings": settings,
            "Main": f"s3://{names.artefact_bucket}/{artefacts.spark_main.key}",
        }
        serverless = {
            "ApplicationId": self.application.attr_application_id,
            "JobRole": self.job_role.role_arn,
            "LogGroup": names.log_group("training"),
            "SparkWords": self._spark_words(artefacts),
        }
        own_words = cluster.substitutions(size, RELEASE) if cluster is not None else serverless
        own = states.CfnStateMachine
        machine = own(
            self,
            "Machine",
            state_machine_name=names.machine,
            role_arn=role.role_arn,
            definition_string=json.dumps(
                definition(size.training, workers=size.executors, submit=Cluster.submit_words(size))
            ),
            definition_substitutions=common | dict(own_words),
            encryption_configuration=own.EncryptionConfigurationProperty(
                type="CUSTOMER_MANAGED_KMS_KEY", kms_key_id=self._key.key_arn, kms_data_key_reuse_period_seconds=300
            ),
            logging_configuration=own.LoggingConfigurationProperty(
                level="ALL",
                include_execution_data=True,
                destinations=[
                    own.LogDestinationProperty(
                        cloud_watch_logs_log_group=own.CloudWatchLogsLogGroupProperty(log_group_arn=group.log_group_arn)
                    )
                ],
            ),
            tracing_configuration=own.TracingConfigurationProperty(enabled=True),
        )
        machine.node.add_dependency(role.node.find_child("DefaultPolicy"))
        return machine

    def _schedules(self, shops: Sequence[str]) -> None:
        """At least once, says EventBridge: a run that comes twice finds the work done, or loses the switch."""
        names, own = self._names, scheduler.CfnSchedule
        group = scheduler.CfnScheduleGroup(self, "Schedules", name=names.prefix)
        role = service_role(
            self,
            "ScheduleRole",
            "scheduler.amazonaws.com",
            description="Starts trainings",
            source_arn=account_arn("scheduler", f"schedule-group/{names.prefix}"),
        )
        allow(role, ["states:StartExecution"], [names.machine_arn])
        allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], [self._key.key_arn])
        for shop in shops:
            for mode, expression in _TIMES.items():
                schedule = own(
                    self,
                    f"{mode.title()}{shop.title()}",
                    name=f"{mode}-{shop}",
                    group_name=names.prefix,
                    schedule_expression=expression,
                    state="ENABLED" if mode == DAILY or self._profile.hourly else "DISABLED",
                    schedule_expression_timezone="UTC",
                    flexible_time_window=own.FlexibleTimeWindowProperty(mode="FLEXIBLE", maximum_window_in_minutes=10),
                    kms_key_arn=self._key.key_arn,
                    target=own.TargetProperty(
                        arn=names.machine_arn,
                        role_arn=role.role_arn,
                        input=json.dumps(run_input(mode, shop)),
                        retry_policy=own.RetryPolicyProperty(
                            maximum_event_age_in_seconds=3600, maximum_retry_attempts=5
                        ),
                    ),
                )
                schedule.add_resource_dependency(group)
                schedule.add_resource_dependency(self.machine)
