"""A console and a real hub: what goes up, what comes back, and every way in which that may be a lie."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.hub_tools import tables_at
from hub.sync_liar import Liar
from hub.sync_tools import Laptop
from rollback_console.errors import BackendUnreachable
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.receipt import check
from rollback_console.journal.succession import MACHINE_VARIABLE
from rollback_console.journal.sync import Halted
from rollback_console.journal.upstream import HubClient, HubRefused
from rollback_console.model.hub import Link, words
from servers.hub import PROGRAM, Hub

pytestmark = pytest.mark.real


@pytest.fixture
def laptop(hub: Hub, tmp_path: Path) -> Laptop:
    one = Laptop(tmp_path / "ana", hub)
    one.write(3)
    return one


@pytest.fixture
def liar(hub: Hub) -> Iterator[Liar]:
    one = Liar(hub.url)
    yield one
    one.close()


def at_hub(hub: Hub, chain: str) -> list[str]:
    """The hashes of a chain as the hub's own table holds them."""
    with tables_at(hub.folder / "hub.db") as database:
        return [hash_ for (hash_,) in database.execute("SELECT hash FROM entries WHERE chain=? ORDER BY seq", (chain,))]


def here(laptop: Laptop) -> list[str]:
    with sqlite3.connect(laptop.journal) as database:
        return [hash_ for (hash_,) in database.execute("SELECT hash FROM entries ORDER BY seq")]


def kinds(laptop: Laptop) -> list[str]:
    return [alarm.kind for alarm in laptop.state().open_alarms]


def test_entries_go_up_once_in_order_and_the_receipt_proves_the_last(hub: Hub, laptop: Laptop) -> None:
    laptop.write(1_200)
    first = laptop.sync()
    assert first.sent == 1_204  # with the genesis
    assert first.duplicates == 0
    assert at_hub(hub, laptop.chain) == here(laptop)
    assert laptop.sync().sent == 0
    store = HubStore(laptop.journal, laptop.vkey)
    receipt = store.last_receipt(laptop.chain)
    store.close()
    assert receipt is not None
    assert (receipt.seq, receipt.hash) == (1_204, here(laptop)[-1])
    assert check(receipt, [laptop.vkey]).size > receipt.index
    state = laptop.state()
    assert (state.waiting, words(state), state.receipt_seq) == (0, "hub ok", 1_204)


def test_without_its_state_everything_is_offered_again_and_counted_once(hub: Hub, laptop: Laptop) -> None:
    laptop.sync()
    Path(f"{laptop.journal}.hub").unlink()
    again = laptop.sync()
    assert (again.sent, again.duplicates) == (0, 4)
    assert at_hub(hub, laptop.chain) == here(laptop)


def test_blobs_that_entries_name_go_up_behind_them(hub: Hub, laptop: Laptop) -> None:
    from rollback_console.journal.chain import digest
    from rollback_console.journal.kinds import PolicyInForce

    layout = b'["layout"]' * 50
    tick = b'{"layout":"' + digest(layout).encode() + b'"}\n' + bytes(1_000)
    with laptop.open() as journal:
        body = PolicyInForce(what="policy", name="p", version=1, digest=digest(tick))
        journal.append_all([(body, "", "")], [tick, layout, b"named by nobody"])
    assert laptop.sync().blobs == 2
    client = HubClient(hub.url, laptop.token)
    every = [digest(data) for data in (tick, layout, b"named by nobody")]
    assert client.missing(every) == {every[2]}
    client.close()
    assert laptop.sync().blobs == 0


def test_a_hub_out_of_reach_is_said_and_nothing_is_lost(hub: Hub, laptop: Laptop) -> None:
    laptop.sync()
    laptop.url, url = "http://127.0.0.1:9", laptop.url
    laptop.write(2)
    with pytest.raises(BackendUnreachable):
        laptop.sync()
    state = laptop.state()
    assert (state.link, state.waiting) == (Link.OFFLINE, 2)
    assert words(state) == "hub offline: you cannot see others"
    laptop.url = url
    assert laptop.sync().sent == 2
    assert at_hub(hub, laptop.chain) == here(laptop)


def test_a_journal_put_back_from_a_backup_is_said_and_a_new_chain_names_the_old(
    hub: Hub, laptop: Laptop, tmp_path: Path
) -> None:
    laptop.sync()
    old, chain = tmp_path / "backup.db", laptop.chain
    shutil.copy(laptop.journal, old)
    laptop.write(5)
    laptop.sync()
    shutil.copy(old, laptop.journal)
    with pytest.raises(Halted, match="ends at entry 4 and the hub holds 9"):
        laptop.sync()
    assert words(laptop.state()) == "hub: this journal was copied or restored"
    laptop.write(2)  # the next start
    assert laptop.chain != chain
    assert f"this chain follows {chain}" in laptop.said()[0]
    assert laptop.sync().sent == len(here(laptop))
    assert words(laptop.state()) == "hub ok"
    assert len(at_hub(hub, chain)) == 9
    assert [path.name for path in laptop.folder.glob("journal.ended-*.db")]


def test_a_cut_end_is_told_by_the_receipt_even_when_the_hub_forgot_it_too(hub: Hub, laptop: Laptop, liar: Liar) -> None:
    laptop.sync()
    short = laptop.folder / "short.db"
    shutil.copy(laptop.journal, short)
    laptop.write(3)
    laptop.sync()
    shutil.copy(short, laptop.journal)
    hash_ = here(laptop)[-1]
    laptop.url = liar.url
    liar.lie = lambda method, path, answer: (
        {**answer, "head": {"seq": 4, "hash": hash_}} if path.endswith(laptop.chain) else None
    )
    with pytest.raises(Halted, match="a receipt proves that it had 7"):
        laptop.sync()
    assert kinds(laptop) == ["lost", "restored"]


def test_a_clone_with_the_same_machine_id_forks_and_whoever_comes_second_begins_anew(
    hub: Hub, laptop: Laptop, tmp_path: Path
) -> None:
    laptop.sync()
    copy, chain = Laptop.of(laptop, tmp_path / "clone"), laptop.chain
    laptop.write(2, "at home")
    copy.write(2, "elsewhere")
    laptop.sync()
    with pytest.raises(Halted, match="exists twice, signed by this device's key both times"):
        copy.sync()
    ended = here(copy)
    copy.write(1)
    assert copy.chain != chain
    assert copy.sync().sent == len(here(copy))
    assert at_hub(hub, chain) == here(laptop)
    assert at_hub(hub, copy.chain) == here(copy)
    kept = next(copy.folder.glob("journal.ended-*.db"))
    with sqlite3.connect(kept) as database:  # the lost end is evidence, here and at the hub
        assert [row[0] for row in database.execute("SELECT hash FROM entries ORDER BY seq")][: len(ended)] == ended
    with tables_at(hub.folder / "hub.db") as database:
        assert database.execute("SELECT code FROM evidence WHERE chain = ?", (chain,)).fetchall() == [("fork",)]
    laptop.write(1)
    assert laptop.sync().sent == 1  # the first goes on as it was


def test_a_laptop_copied_to_another_machine_gets_a_key_of_its_own_before_it_writes(
    hub: Hub, laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.sync()
    laptop.open().close()
    copy, chain, key = Laptop.of(laptop, tmp_path / "copy"), laptop.chain, laptop.device.fingerprint()
    monkeypatch.setenv(MACHINE_VARIABLE, "another machine")
    copy.write(1, "elsewhere")
    assert copy.device.fingerprint() != key
    assert copy.chain != chain
    assert f"this chain follows {chain}" in copy.said()[0]
    with pytest.raises(Halted, match="enrol this device"):
        copy.sync()  # the token is the other device's
    copy.enrol(hub)
    assert copy.sync().sent == len(here(copy))
    monkeypatch.delenv(MACHINE_VARIABLE)
    laptop.write(1)
    assert laptop.sync().sent == 1


def test_an_entry_changed_here_is_named(hub: Hub, laptop: Laptop) -> None:
    laptop.sync()
    laptop.write(2)
    with sqlite3.connect(laptop.journal) as database:
        database.execute("DROP TRIGGER entries_no_update")
        database.execute("UPDATE entries SET body = replace(body, 'note 0', 'note 9') WHERE seq = 5")
    with pytest.raises(Halted, match="entry 5 of this journal is not as it was signed"):
        laptop.sync()
    assert kinds(laptop) == ["changed"]


def test_an_impostor_at_the_hubs_address_gets_neither_token_nor_entries(laptop: Laptop, liar: Liar) -> None:
    laptop.url = liar.url
    other = "hub.example+83a4193e+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    liar.lie = lambda method, path, answer: {**answer, "key": other} if path == "/v1/about" else None
    with pytest.raises(Halted, match="another hub answers there"):
        laptop.sync()
    assert liar.tokens == [("/v1/about", "")]
    assert kinds(laptop) == ["key"]
    assert words(laptop.state()) == "hub ALARM: journal status says which"


def _another(receipt: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**receipt, **changes}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hash": "0" * 64}, "another entry 4 than ours"),
        ({"seq": 3}, "it is of entry 3, and 4 was sent"),
        ({"chain": "f" * 32}, "another chain"),
        ({"index": 0, "proof": []}, "does not lead"),
        ({"at": "1"}, "does not lead"),
        ({"checkpoint": "vm\n1\nAAAA\n\n"}, "not|no key|signed"),
    ],
)
def test_a_receipt_that_does_not_prove_our_entry_is_not_believed(
    hub: Hub, laptop: Laptop, liar: Liar, changes: dict[str, object], why: str
) -> None:
    laptop.url = liar.url
    liar.lie = lambda method, path, answer: (
        {**answer, "receipt": _another(answer["receipt"], **changes)}
        if method == "POST" and "receipt" in answer
        else None
    )
    with pytest.raises(Halted, match=why):
        laptop.sync()
    state = laptop.state()
    assert (state.waiting, state.receipt_at, kinds(laptop)) == (5, None, ["receipt"])  # with the line about it
    liar.lie = lambda method, path, answer: None
    assert laptop.sync().duplicates == 4  # an honest answer is believed again; the alarm stays until it is accepted
    assert kinds(laptop) == ["receipt"]
    assert any("does not hold" in line for line in laptop.said())


def test_a_hub_that_invents_entries_of_ours_is_found_out_and_the_chain_goes_on(laptop: Laptop, liar: Liar) -> None:
    laptop.sync()
    laptop.url, chain = liar.url, laptop.chain

    def lie(method: str, path: str, answer: dict[str, Any]) -> dict[str, Any] | None:
        if path == f"/v1/chains/{chain}":
            return {**answer, "head": {"seq": 9, "hash": "0" * 64}}
        if "/entries?" in path:
            forged = {"seq": 9, "at": "1", "mono": "1", "kind": "note", "deployment": "", "operator": "", "body": "{}",
                      "prev": "", "hash": "0" * 64, "signature": "AAAA"}  # fmt: skip
            return {"entries": [forged], "next": 9}
        return None

    liar.lie = lie
    laptop.write(1)
    with pytest.raises(Halted, match="this device never signed"):
        laptop.sync()
    assert kinds(laptop) == ["forged"]
    liar.lie = lambda method, path, answer: None
    laptop.write(1)
    assert laptop.chain == chain
    assert laptop.sync().sent == 3  # with the line that says what was found


def test_a_late_request_delivered_again_after_newer_ones_changes_nothing(hub: Hub, laptop: Laptop, liar: Liar) -> None:
    laptop.url = liar.url
    for _ in range(4):
        laptop.write(3)
        laptop.sync()
    posts = [each for each in liar.delivered if each[0] == "POST" and each[1].endswith("/entries")]
    for each in reversed(posts):
        assert liar.again(*each).json()["accepted"] == 0
    assert at_hub(hub, laptop.chain) == here(laptop)


def test_a_hub_that_forgot_gets_everything_again_and_is_called_out(tmp_path: Path) -> None:
    """Put back from a backup, mark and all, so that the hub itself cannot know: its consoles do."""
    hub = Hub(tmp_path / "hub")
    laptop = Laptop(tmp_path / "ana", hub)
    laptop.write(3)
    laptop.sync()
    hub.stop()
    shutil.copytree(hub.folder, tmp_path / "backup")
    hub = Hub(hub.folder, port=hub.server.port)
    laptop.write(5)
    laptop.sync()
    laptop.write(1)
    laptop.sync()
    hub.stop()
    shutil.rmtree(hub.folder)
    shutil.copytree(tmp_path / "backup", hub.folder)
    hub = Hub(hub.folder, port=hub.server.port)
    try:
        laptop.write(2)
        done = laptop.sync()
        assert done.sent == 10  # 5 and 1 that it had acknowledged, 2 new, and the lines about it
        assert kinds(laptop) == ["lost", "tree"]
        assert "had acknowledged entry 10 and now holds 4" in laptop.said()[0]
        assert at_hub(hub, laptop.chain) == here(laptop)
        store = HubStore(laptop.journal, laptop.vkey)
        tree = next(alarm for alarm in store.alarms() if alarm.kind == "tree")
        assert {"held", "shown"} <= store.detail(tree.id).keys()
        store.close()
        laptop.write(1)
        with pytest.raises(HubRefused, match="older than what it has signed"):
            laptop.sync()  # it was shown its own checkpoint, and signs nothing more until its keeper has looked
        assert "the hub says itself" in laptop.said()[-1]
    finally:
        hub.stop()


def test_a_hub_that_was_restored_and_says_so_is_believed_under_its_next_name(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub")
    laptop = Laptop(tmp_path / "ana", hub)
    laptop.write(3)
    laptop.sync()
    keeper = [*PROGRAM, "hub"]
    backup = str(tmp_path / "hub.backup")
    subprocess.run([*keeper, "backup", backup, *hub.where], check=True, capture_output=True)
    laptop.write(5)
    laptop.sync()
    hub.stop()
    subprocess.run([*keeper, "restore", backup, *hub.where], check=True, capture_output=True)
    hub = Hub(hub.folder, port=hub.server.port)
    try:
        laptop.write(1)
        laptop.sync()
        assert kinds(laptop) == ["restored hub", "lost"]
        assert "its log goes on as" in laptop.said()[0]
        laptop.sync()
        assert at_hub(hub, laptop.chain) == here(laptop)
        store = HubStore(laptop.journal, laptop.vkey)
        receipt = store.last_receipt(laptop.chain)
        assert receipt is not None
        assert "/restored-2" in receipt.checkpoint.partition("\n")[0]
        assert store.accept() == 2
        store.close()
        laptop.write(1)
        laptop.sync()
        assert words(laptop.state()) == "hub ok"
    finally:
        hub.stop()


def test_a_revoked_device_is_told_so(hub: Hub, laptop: Laptop) -> None:
    laptop.token = "rbh_" + "x" * 40
    with pytest.raises(HubRefused, match="does not know this device's token"):
        laptop.sync()
    assert laptop.state().link is Link.REFUSED
    assert "enrol it again" in laptop.state().problem
