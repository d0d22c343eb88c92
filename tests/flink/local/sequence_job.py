"""A counting source through one vectorised function: the smallest job with Python workers and restorable state."""

import pandas as pd
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf


@udf(result_type=DataTypes.BIGINT(), func_type="pandas")
def double(numbers: pd.Series) -> pd.Series:
    return numbers * 2


def main() -> None:
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.create_temporary_function("double_it", double)
    tables.execute_sql(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector'='datagen', 'fields.n.kind'='sequence',"
        " 'fields.n.start'='1', 'fields.n.end'='1000000', 'rows-per-second'='200')"
    )
    tables.execute_sql("CREATE TABLE nowhere (n BIGINT) WITH ('connector'='blackhole')")
    tables.execute_sql("INSERT INTO nowhere SELECT double_it(n) FROM numbers")


if __name__ == "__main__":
    main()
