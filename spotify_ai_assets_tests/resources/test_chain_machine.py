"""A chain against a list: whatever is done, in whatever order, it holds what the list holds and finds what was tampered with."""

import sqlite3
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spotify_ai_assets.resources.chain import Chain, Entry
from spotify_ai_assets.resources.chain_records import Head, Record

KINDS = st.sampled_from(["deed", "erased", "job"])
NAMES = st.none() | st.sampled_from(["a", "b", "c"])


class ChainMachine(RuleBasedStateMachine):
    """Appends, opens anew, copies, and now and then somebody tampers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite:///{self.folder.name}/ledger.db"
        self.model: list[Record] = []
        self.heads: list[Head] = []

    @initialize()
    def open(self) -> None:
        self.chain = Chain(self.url, "audit")
        self.heads = [self.chain.head()]

    @rule(entries=st.lists(st.tuples(KINDS, st.integers(), NAMES), max_size=4))
    def append(self, entries: list[tuple[str, int, str | None]]) -> None:
        known = {record.body.get("once") for record in self.model}
        wanted = []
        for kind, number, once in entries:
            if once is None or once not in known:
                wanted.append((kind, {"n": number} if once is None else {"n": number, "once": once}))
                known.add(once)
        added = self.chain.append_all([Entry(kind, {"n": number}, once) for kind, number, once in entries])
        assert [(record.kind, record.body) for record in added] == wanted
        self.model += added

    @rule()
    def open_again(self) -> None:
        self.chain = Chain(self.url, "audit")

    @rule()
    def witness(self) -> None:
        self.heads.append(self.chain.head())

    @rule()
    def restore_an_older_copy_and_adopt(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            older = Chain(f"sqlite:///{folder}/older.db", "audit")
            older.adopt(self.model[: len(self.model) // 2])
            assert older.adopt(self.model) == len(self.model) - len(self.model) // 2
            assert list(older.records()) == self.model and older.verify(*self.heads) == []

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def tamper_and_put_back(self, data: st.DataObject) -> None:
        path = Path(self.url.removeprefix("sqlite:///"))
        number = data.draw(st.integers(1, len(self.model)))
        change = data.draw(
            st.sampled_from(
                [
                    "UPDATE chain_records SET body = '{}' WHERE sequence = {n}",
                    "UPDATE chain_records SET kind = kind || 'x' WHERE sequence = {n}",
                    "DELETE FROM chain_records WHERE sequence = {n}",
                    "DELETE FROM chain_records WHERE sequence >= {n}",
                    "UPDATE chain_records SET sequence = sequence + 1000 WHERE sequence = {n}",
                ]
            )
        )
        self.chain.head()
        whole = path.read_bytes()
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in ("DROP TRIGGER chain_no_update", "DROP TRIGGER chain_no_delete", change.replace("{n}", str(number))):
            connection.execute(statement)
        connection.close()
        told = Chain(self.url, "audit").verify(Head(self.model[-1].sequence, self.model[-1].digest))
        for each in path.parent.glob(f"{path.name}-*"):
            each.unlink()
        path.write_bytes(whole)
        assert told

    @invariant()
    def holds_what_the_list_holds(self) -> None:
        assert list(self.chain.records()) == self.model
        assert self.chain.verify(*self.heads) == []
        for kind in ("deed", "erased", "job"):
            mine = [record for record in self.model if record.kind == kind]
            assert list(self.chain.records(kind)) == mine and self.chain.newest(kind) == (mine[-1] if mine else None)

    def teardown(self) -> None:
        self.folder.cleanup()


TestChainMachine = ChainMachine.TestCase
TestChainMachine.settings = settings(max_examples=8, stateful_step_count=10, deadline=None)
