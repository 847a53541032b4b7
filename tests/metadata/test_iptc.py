"""iptc: datasets become texts by the names of IIM."""

import pytest

from assetstore.metadata import iptc

#: The datasets of record 2 in IIM 4.2, by their numbers.
DATASETS = """
5 ObjectName, 7 EditStatus, 10 Urgency, 12 SubjectReference, 15 Category, 20 SupplementalCategories,
22 FixtureIdentifier, 25 Keywords, 26 ContentLocationCode, 27 ContentLocationName, 30 ReleaseDate, 35 ReleaseTime,
37 ExpirationDate, 38 ExpirationTime, 40 SpecialInstructions, 55 DateCreated, 60 TimeCreated, 62 DigitalCreationDate,
63 DigitalCreationTime, 65 OriginatingProgram, 70 ProgramVersion, 75 ObjectCycle, 80 By-line, 85 By-lineTitle, 90 City,
92 Sub-location, 95 Province-State, 100 Country-PrimaryLocationCode, 101 Country-PrimaryLocationName,
103 OriginalTransmissionReference, 105 Headline, 110 Credit, 115 Source, 116 CopyrightNotice, 118 Contact,
120 Caption-Abstract, 122 Writer-Editor, 135 LanguageIdentifier
"""
NAMES = {int(number): name for number, name in (entry.split() for entry in DATASETS.split(","))}


def dataset(number: int, value: bytes, record: int = 2) -> bytes:
    return bytes((0x1C, record, number)) + len(value).to_bytes(2) + value


def test_every_dataset_has_its_name() -> None:
    data = b"".join(dataset(number, b"value %d" % number) for number in range(256))
    assert iptc.read(data) == {name: f"value {number}" for number, name in NAMES.items()}


def test_datasets_of_other_records_are_ignored_and_several_values_are_joined() -> None:
    data = dataset(25, b"one") + dataset(25, b"other", 3) + dataset(25, b" ") + dataset(25, b"two\0")
    assert iptc.read(data) == {"Keywords": "one; two"}


@pytest.mark.parametrize(("before", "text"), [(b"", "München"), (dataset(90, b"\x1b%G", 1), "M\ufffdnchen")])
def test_the_character_set_is_that_of_the_envelope(before: bytes, text: str) -> None:
    assert iptc.read(before + dataset(90, b"M\xfcnchen")) == {"City": text}


def test_what_follows_damaged_bytes_is_ignored() -> None:
    good = dataset(5, b"good")
    for rest in (b"\x1c\x02\x05", b"\0" + dataset(90, b"x"), dataset(90, b"x" * 9)[:-3]):
        assert iptc.read(good + rest)["ObjectName"] == "good"
