"""Bring a run's record into MLflow's tables, as a stranger's: what is not the run's is left out.

Ids of runs, models and traces are random, and stay. Experiments are told by their
name, datasets by name and digest, for their ids are counted anew on each machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runback.errors import RecordError
from runback.record import files
from runback.store.places import MODEL_ID, local_path
from runback.store.registry import adopt_versions
from runback.store.rows import Writer
from runback.store.traces import adopt_traces

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from runback.record.fields import Value
    from runback.record.metrics import Point
    from runback.record.state import Row, State
    from runback.store.places import Places


class Adopter:
    """Adopts runs within the caller's transaction; one savepoint for each is the caller's too."""

    def __init__(self, connection: sqlite3.Connection, places: Places) -> None:
        self.connection = connection
        self.places = places
        self.write = Writer(connection)

    def adopt(self, state: State, fields: dict[str, Value], blocks: Iterable[list[Point]]) -> int:
        """Make the tables say of the run what its record says; return the number of points read.

        fields: name, tags and deletion, with everybody's edits merged in.
        Raises RecordError for a damaged line of metrics, after the points before it;
        sqlite3.IntegrityError for rows that MLflow's tables do not take.
        """
        experiment_id = self._experiment(state)
        self._run(state, fields, experiment_id)
        datasets = self._datasets(state, experiment_id)
        self._inputs(state, datasets)
        self._models(state, experiment_id, datasets)
        if "model_versions" in state.rows:
            adopt_versions(self.write, state, self.places)
        if "trace_info" in state.rows:
            adopt_traces(self.write, state, self.places, experiment_id)
        return self._metrics(state.run_id, blocks)

    def _experiment(self, state: State) -> int:
        row = state.rows["experiments"][0]
        name, wanted = row.get("name"), row.get("experiment_id")
        if (
            not isinstance(name, str)
            or not name
            or type(wanted) is not int
            or not 0 <= wanted < 2**53
        ):
            raise RecordError(self._path(state), f"has no experiment, but {name!r}"[:200])
        known = self.write.one("SELECT experiment_id FROM runs WHERE run_uuid = ?", state.run_id)
        if known is None:
            known = self.write.one("SELECT experiment_id FROM experiments WHERE name = ?", name)
        if known is None:
            known = self._new_experiment(row, wanted)
        tags = [
            {**tag, "experiment_id": known}
            for tag in state.rows.get("experiment_tags", ())
            if tag.get("experiment_id") == wanted
        ]
        self.write.upsert("experiment_tags", tags, guard="0")
        return int(known)

    def _path(self, state: State) -> Any:
        return self.places.record(state.run_id) / files.RUN

    def _new_experiment(self, row: Row, wanted: int) -> int:
        taken = self.write.one("SELECT 1 FROM experiments WHERE experiment_id = ?", wanted)
        if taken:
            wanted = self.write.one("SELECT MAX(experiment_id) + 1 FROM experiments")
        location = row.get("artifact_location")
        if not isinstance(location, str) or local_path(location) is not None:
            location = str(self.places.mlruns / str(wanted))
        new = {**row, "experiment_id": wanted, "artifact_location": location}
        new.pop("workspace", None)  # of a server; here there is the default one
        self.write.upsert("experiments", [new])
        return wanted

    def _run(self, state: State, fields: dict[str, Value], experiment_id: int) -> None:
        run = {"run_uuid": state.run_id}
        row = {
            **state.rows["runs"][0],
            **run,
            "experiment_id": experiment_id,
            "artifact_uri": str(self.places.artifacts[state.run_id]),
        }
        self.write.upsert("runs", [row])
        self.write.upsert("params", [{**param, **run} for param in state.rows.get("params", ())])
        known = self.connection.execute("SELECT key FROM tags WHERE run_uuid = ?", [state.run_id])
        removed = {f"tag:{key}": None for (key,) in known.fetchall()}
        self.set_fields(state.run_id, {**removed, **fields})

    def set_fields(self, run_id: str, fields: Mapping[str, Value]) -> None:
        """Set a run's name, deletion and tags; a tag of None is removed."""
        for column in ("name", "lifecycle_stage", "deleted_time"):
            if column in fields:
                self.connection.execute(
                    f"UPDATE runs SET {column} = ? WHERE run_uuid = ?", [fields[column], run_id]
                )
        tags = {field[len("tag:") :]: v for field, v in fields.items() if field[:4] == "tag:"}
        self.connection.executemany(
            "DELETE FROM tags WHERE key = ? AND run_uuid = ?",
            [(key, run_id) for key, value in tags.items() if value is None],
        )
        kept = [
            {"key": k, "value": v, "run_uuid": run_id} for k, v in tags.items() if v is not None
        ]
        self.write.upsert("tags", kept)

    def _datasets(self, state: State, experiment_id: int) -> dict[str, str]:
        """Insert the run's datasets; return under which id each is known here."""
        ids = {}
        for row in state.rows.get("datasets", ()):
            self.write.upsert("datasets", [{**row, "experiment_id": experiment_id}], guard="0")
            ids[str(row.get("dataset_uuid"))] = self.write.one(
                "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ?"
                " AND digest = ?",
                *(experiment_id, row.get("name"), row.get("digest")),
            )
        return ids

    def _inputs(self, state: State, datasets: dict[str, str]) -> None:
        kept = [
            {**row, "source_id": datasets.get(str(row.get("source_id")), row.get("source_id"))}
            for row in state.rows.get("inputs", ())
            if _is_input_of(row, state.run_id)
        ]
        self.write.upsert("inputs", kept)
        ids = {row.get("input_uuid") for row in kept}
        tags = [row for row in state.rows.get("input_tags", ()) if row.get("input_uuid") in ids]
        self.write.upsert("input_tags", tags, guard="0")
        linked = [
            row
            for row in state.rows.get("entity_associations", ())
            if ("run", state.run_id) in _ends(row)
        ]
        self.write.upsert("entity_associations", linked)

    def _models(self, state: State, experiment_id: int, datasets: dict[str, str]) -> None:
        home = {"experiment_id": experiment_id}
        models = [
            {**row, **home, "source_run_id": state.run_id, "artifact_location": self._location(row)}
            for row in state.rows.get("logged_models", ())
            if MODEL_ID.fullmatch(str(row.get("model_id")))
        ]
        # A record cannot claim another run's model.
        self.write.upsert(
            "logged_models", models, guard="logged_models.source_run_id = excluded.source_run_id"
        )
        found = self.connection.execute(
            "SELECT model_id FROM logged_models WHERE source_run_id = ?", [state.run_id]
        )
        own = {model_id for (model_id,) in found.fetchall()}
        for table in ("logged_model_params", "logged_model_tags"):
            rows = (row for row in state.rows.get(table, ()) if row.get("model_id") in own)
            self.write.upsert(table, [{**row, **home} for row in rows])
        metrics = [
            {**row, **home, "run_id": state.run_id, "dataset_uuid": datasets.get(str(uuid), uuid)}
            for row in state.rows.get("logged_model_metrics", ())
            for uuid in [row.get("dataset_uuid")]
        ]
        self.write.upsert("logged_model_metrics", metrics)

    def _location(self, model: Row) -> str:
        model_id, uri = str(model["model_id"]), model.get("artifact_location")
        if model_id in self.places.artifacts:
            return str(self.places.artifacts[model_id])
        if isinstance(uri, str) and uri and local_path(uri) is None:
            return uri  # an object store
        experiment = self.places.artifacts[str(model["source_run_id"])].parent.parent.name
        return str(self.places.default(experiment, model_id))

    def _metrics(self, run_id: str, blocks: Iterable[list[Point]]) -> int:
        latest: dict[str, Point] = {}
        count = 0
        try:
            for points in blocks:
                count += len(points)
                self.connection.executemany(
                    "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    ((p.key, p.value, p.timestamp, run_id, p.step, p.is_nan) for p in points),
                )
                _keep_latest(latest, points)
        finally:
            self.connection.executemany(_LATEST, _latest_rows(latest, run_id))
        return count


# As sqlalchemy_store._compare_metrics orders them: step, then time, then value.
_LATEST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, run_uuid) DO UPDATE SET
value = excluded.value, timestamp = excluded.timestamp, step = excluded.step,
is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value)
> (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)
"""


def _keep_latest(latest: dict[str, Point], points: list[Point]) -> None:
    for point in points:
        known = latest.get(point.key)
        if known is None or (point.step, point.timestamp, point.value) > (
            *(known.step, known.timestamp, known.value),
        ):
            latest[point.key] = point


def _latest_rows(latest: dict[str, Point], run_id: str) -> Iterator[tuple[Any, ...]]:
    for point in latest.values():
        yield point.key, point.value, point.timestamp, point.step, point.is_nan, run_id


def _is_input_of(row: Row, run_id: str) -> bool:
    goes_in = row.get("destination_type") == "RUN" and row.get("destination_id") == run_id
    comes_out = str(row.get("source_type")).startswith("RUN") and row.get("source_id") == run_id
    return goes_in or comes_out


def _ends(row: Row) -> list[tuple[Any, Any]]:
    return [(row.get(f"{end}_type"), row.get(f"{end}_id")) for end in ("source", "destination")]
