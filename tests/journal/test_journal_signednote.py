"""Signed notes: the specification's and golang.org/x/mod's own examples, and what must be refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from rollback_console.journal.signednote import Checkpoint, NoteKey, open_note, parse_vkey

# c2sp.org/signed-note, "Example".
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_TEXT = "This is an example message.\n"
C2SP_NOTE = (
    C2SP_TEXT + "\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# golang.org/x/mod/sumdb/note, example_test.go and note_test.go.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
# c2sp.org/tlog-checkpoint: the example's text. (Its key is not published, so that its signature cannot be checked.)
C2SP_CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def _key(name: str = "hub.example/log", seed: int = 1) -> NoteKey:
    return NoteKey(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def test_the_specifications_example() -> None:
    assert open_note(C2SP_NOTE, [C2SP_VKEY]) == C2SP_TEXT


def test_golangs_examples() -> None:
    peter = NoteKey("PeterNeumann", Ed25519PrivateKey.from_private_bytes(PETER_SEED))
    assert peter.vkey == PETER
    assert peter.sign(GO_TEXT) == f"{GO_TEXT}\n{PETER_LINE}"
    enoch = NoteKey("EnochRoot", Ed25519PrivateKey.from_private_bytes(b"\0" * 32))
    assert (enoch.vkey, enoch.signature_line(GO_TEXT)) == (ENOCH, ENOCH_LINE)
    both = f"{GO_TEXT}\n{PETER_LINE}{ENOCH_LINE}"
    for vkeys in ([PETER], [ENOCH], [PETER, ENOCH]):
        assert open_note(both, vkeys) == GO_TEXT
    # A signature that does not hold is ignored only where its key is not known.
    broken = PETER_LINE[:60] + "ABCD" + PETER_LINE[60:]
    assert open_note(f"{GO_TEXT}\n{broken}{ENOCH_LINE}", [ENOCH]) == GO_TEXT
    with pytest.raises(ValueError, match="does not hold"):
        open_note(f"{GO_TEXT}\n{broken}{ENOCH_LINE}", [PETER, ENOCH])


@pytest.mark.parametrize(
    "note",
    [
        GO_TEXT,
        GO_TEXT + "\n",
        f"{GO_TEXT}\n{PETER_LINE[:-1]}",
        f"\x01{GO_TEXT}\n{PETER_LINE}",
        f"{GO_TEXT}\n— Bad Name x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo=\n",
        f"{GO_TEXT}\n{PETER_LINE}Unexpected line.\n",
        f"{GO_TEXT}\n{PETER_LINE * 101}",
        f"{GO_TEXT}\n— PeterNeumann\n",
        f"{GO_TEXT}\n— PeterNeumann x08g\n",
        f"{GO_TEXT}\n- PeterNeumann{PETER_LINE[14:]}",
        "",
    ],
)
def test_golangs_malformed_notes(note: str) -> None:
    with pytest.raises(ValueError):
        open_note(note, [PETER])


def test_a_note_is_nothing_without_a_trusted_signature() -> None:
    with pytest.raises(ValueError, match=r"no key that is trusted here signed it \(it is signed as PeterNeumann\)"):
        open_note(f"{GO_TEXT}\n{PETER_LINE}", [ENOCH])
    for line in (PETER_LINE.replace("PeterNeumann", "CarmenSandiego"), PETER_LINE.replace("x08g", "xxxx")):
        with pytest.raises(ValueError, match="no key that is trusted"):
            open_note(f"{GO_TEXT}\n{line}", [PETER])
    with pytest.raises(ValueError, match="does not hold"):
        open_note(f"{GO_TEXT}more\n\n{PETER_LINE}", [PETER])


def test_every_change_of_a_character_of_a_vkey_is_noticed() -> None:
    assert parse_vkey(PETER).name == "PeterNeumann"
    for place, character in enumerate(PETER):
        with pytest.raises(ValueError):
            parse_vkey(PETER[:place] + chr(ord(character) + 1) + PETER[place + 1 :])
    for bad in (
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # golang's: too long a key
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # golang's: another algorithm
        "",
        "a+b",
    ):
        with pytest.raises(ValueError):
            parse_vkey(bad)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=80))
def test_what_was_signed_is_what_is_read(text: str) -> None:
    key = _key()
    note = key.sign(text + "\n")
    assert open_note(note, [key.vkey]) == text + "\n"
    with pytest.raises(ValueError):
        open_note(note, [_key(seed=2).vkey])


def test_what_cannot_be_signed() -> None:
    for text in ("no newline", "tab\t\n", "\x1b[31m\n", "\ud800\n"):
        with pytest.raises(ValueError):
            _key().sign(text)
    for name in ("", "a b", "a+b", "a\u00a0b"):
        with pytest.raises(ValueError):
            _key(name)


def test_checkpoints() -> None:
    found = Checkpoint.parse(C2SP_CHECKPOINT)
    assert (found.origin, found.size, found.root.hex()) == (
        "example.com/behind-the-sofa",
        20_852_163,
        "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62",
    )
    assert found.text() == C2SP_CHECKPOINT
    extended = C2SP_CHECKPOINT + "an extension\n"
    assert Checkpoint.parse(extended).text() == extended
    key = _key("example.com/behind-the-sofa")
    assert Checkpoint.parse(open_note(key.sign(found.text()), [key.vkey])) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        C2SP_CHECKPOINT[:-1],
        C2SP_CHECKPOINT + "\n",
        C2SP_CHECKPOINT.replace("20852163", "020852163"),
        C2SP_CHECKPOINT.replace("20852163", "-1"),
        C2SP_CHECKPOINT.replace("20852163", "٣"),
        C2SP_CHECKPOINT.replace("CsUY", "CsU"),
        C2SP_CHECKPOINT.replace("jxq2I=", "jxq2J="),  # the same bytes, in a base64 that nobody writes
        C2SP_CHECKPOINT.replace("jxq2I=", "é"),
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(ValueError):
        Checkpoint.parse(text)
