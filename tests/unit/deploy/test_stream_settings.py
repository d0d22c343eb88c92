"""One file says how the stream is set, and every part takes it from there."""

import json

from contracts.settings import Settings, StreamingSettings, to_properties
from deploy.stream_settings import BUNDLE_MS, PATH, stream_settings
from local.flink import BASE_OPTIONS


def test_the_job_s_part_is_read_by_the_settings_and_equals_their_defaults() -> None:
    given = Settings.from_properties({"liveshelf.streaming": stream_settings().streaming}).streaming
    assert given == StreamingSettings(), "a default changed: deploy/stream-settings.json says what is measured"


def test_all_of_the_job_s_settings_but_local_folders_and_positions_are_in_the_file() -> None:
    (known,) = (g for g in to_properties(Settings()) if g["PropertyGroupId"] == "liveshelf.streaming")
    assert set(known["PropertyMap"]) - set(stream_settings().streaming) == {"initial.position", "snapshot.cache"}


def test_the_local_cluster_takes_every_flink_option_from_the_file() -> None:
    assert {key: BASE_OPTIONS[key] for key in stream_settings().flink} == stream_settings().flink


def test_what_the_figures_are_promised_for_is_set() -> None:
    flink, streaming, valkey = stream_settings().flink, stream_settings().streaming, stream_settings().valkey
    assert flink["state.backend.type"] == "rocksdb"
    assert flink["execution.checkpointing.interval"] == "10 s"
    assert int(streaming["bundle.time.ms"]) <= BUNDLE_MS
    assert valkey["cluster-enabled"] == "yes"


def test_no_setting_stands_in_the_file_twice() -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert json.loads(PATH.read_text(), object_pairs_hook=once)
