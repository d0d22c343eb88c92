"""Operators get names and uids by what they do, whatever stands around them."""

from dataclasses import dataclass, field
from itertools import count

import pytest

from contracts.errors import ContractError
from contracts.features import ITEM_FEATURES
from streaming.operators import digest, label_of, name_operators

_ids = count()


@dataclass
class Operator:
    """As much of a Flink transformation as is looked at."""

    name: str
    inputs: "list[Operator]" = field(default_factory=list)
    description: str = ""
    uid: str = ""
    id: int = field(default_factory=lambda: next(_ids))

    def getId(self) -> int:
        return self.id

    def getName(self) -> str:
        return self.name

    def getDescription(self) -> str:
        return self.description

    def getInputs(self) -> "list[Operator]":
        return self.inputs

    def setUid(self, uid: str) -> None:
        self.uid = uid

    def setName(self, name: str) -> None:
        self.name = name


def graph() -> tuple[dict[str, Operator], list[Operator]]:
    source = Operator("records[1]", [], "[1]:TableSourceScan(table=[[default_catalog, default_database, records]])")
    parse = Operator("PythonCalc[2]", [source], "[2]:PythonCalc(select=[data, parse(data, arrived_ms) AS parsed])")
    time = Operator("WatermarkAssigner[3]", [parse], "[3]:WatermarkAssigner(rowtime=[rowtime])")
    distinct = Operator("Deduplicate[4]", [Operator("Calc[9]", [time])], "[4]:Deduplicate(keep=[FirstRow])")
    serve = Operator("PythonCalc[5]", [distinct], "[5]:PythonCalc(select=[event_id, serve(shop_id) AS served])")
    dead = Operator("end", [Operator("StreamingFileWriter", [Operator("Calc[6]", [parse])])])
    served = Operator("end", [Operator("StreamingFileWriter", [Operator("Calc[7]", [serve])])])
    return {"distinct": distinct, "serve": serve, "source": source}, [parse, served, dead]


def walk(sinks: list[Operator]) -> dict[int, Operator]:
    found: dict[int, Operator] = {}
    for operator in sinks:
        found |= {operator.id: operator} | walk(operator.inputs)
    return found


def test_steps_are_named_and_each_operator_has_a_uid_of_its_own() -> None:
    known, sinks = graph()
    name_operators(sinks)
    operators = list(walk(sinks).values())
    assert len({operator.uid for operator in operators}) == len(operators)
    assert all(operator.uid for operator in operators)
    assert (known["source"].uid, known["distinct"].name) == ("events", "drop repeated events")
    files = {operator.uid: operator.name for operator in operators if operator.uid in {"served", "dead-letter"}}
    assert files == {"served": "write served log", "dead-letter": "write dead letters"}


def test_uids_do_not_depend_on_the_planner_s_numbers_nor_on_other_columns() -> None:
    _, sinks = graph()
    _, again = graph()
    for operator in walk(again).values():
        operator.name = operator.name.replace("[", "[1")
        operator.description = operator.description.replace("data", "data, more")
    name_operators(sinks)
    name_operators(again)
    assert [o.uid for o in walk(sinks).values()] == [o.uid for o in walk(again).values()]


def test_two_operators_under_one_rule_are_an_error_not_one_state() -> None:
    known, sinks = graph()
    twin = Operator("Deduplicate[8]", [known["source"]], "[8]:Deduplicate(keep=[FirstRow])")
    known["serve"].inputs.append(twin)
    with pytest.raises(ContractError, match="distinct"):
        name_operators(sinks)


def test_the_digest_follows_what_is_summed_and_not_what_it_is_said_to_mean() -> None:
    first, *rest = ITEM_FEATURES
    assert digest([first._replace(meaning="other"), *rest]) == digest(ITEM_FEATURES)
    assert digest([first._replace(event_types=("view",)), *rest]) != digest(ITEM_FEATURES)
    assert digest([*rest, first]) != digest(ITEM_FEATURES)


def test_what_only_moves_columns_has_no_label() -> None:
    assert label_of("Calc[3]", "[3]:Calc(select=[event_id])") is None
