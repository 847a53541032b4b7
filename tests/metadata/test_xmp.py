"""metadata: packets of XMP as names and texts; hostile ones cost nothing."""

import time

import pytest

from assetstore.metadata import xmp

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES = (
    f'xmlns:rdf="{RDF}" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:own="http://museum.org/own/"'
    ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
)


def read(properties: str, attributes: str = "") -> dict[str, str]:
    return xmp.read(
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f"<rdf:RDF {NAMESPACES}><rdf:Description rdf:about='' {attributes}>{properties}</rdf:Description></rdf:RDF>"
        '</x:xmpmeta><?xpacket end="w"?>'.encode()
        + b" \n" * 1000
    )


def test_properties_are_attributes_or_elements() -> None:
    assert read("<dc:source>Lund</dc:source>", "own:number='7'") == {"own:number": "7", "dc:source": "Lund"}


def test_lists_are_joined_and_the_default_language_is_used() -> None:
    found = read(
        "<dc:subject><rdf:Bag><rdf:li>moss</rdf:li><rdf:li>fern</rdf:li></rdf:Bag></dc:subject>"
        "<dc:title><rdf:Alt><rdf:li xml:lang='de'>Moos</rdf:li><rdf:li xml:lang='x-default'>Moss</rdf:li></rdf:Alt>"
        "</dc:title>"
    )
    assert found == {"dc:subject": "moss; fern", "dc:title": "Moss"}


@pytest.mark.parametrize(
    "structure",
    [
        "<own:at rdf:parseType='Resource'><own:city>Lund</own:city></own:at>",
        "<own:at><rdf:Description own:city='Lund'/></own:at>",
        "<own:at own:city='Lund'/>",
        "<own:at><rdf:Bag><rdf:li rdf:parseType='Resource'><own:city>Lund</own:city></rdf:li></rdf:Bag></own:at>",
    ],
)
def test_the_fields_of_structures_are_listed(structure: str) -> None:
    assert read(structure) == {"own:at/own:city": "Lund"}


def test_utf_16_packets_are_read() -> None:
    text = f"<rdf:RDF {NAMESPACES}><rdf:Description dc:source='Kyōto'/></rdf:RDF>"
    assert xmp.read(text.encode("utf-16"))["dc:source"] == "Kyōto"


@pytest.mark.parametrize(
    "packet", [b"", b"not XML", b"<a>", b"\xff\xfe", b"<?xml version='1.0' encoding='nonsense'?><a/>"]
)
def test_broken_packets_are_ignored(packet: bytes) -> None:
    assert xmp.read(packet) == {}


def test_xml_entities_are_rejected_and_no_file_is_read() -> None:
    bomb = (
        '<!DOCTYPE a [<!ENTITY b "'
        + "x" * 1000
        + '">'
        + "".join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("bcdefgh", "cdefghi", strict=True))
    )
    for doctype in (bomb + "]>", '<!DOCTYPE a [<!ENTITY i SYSTEM "file:///etc/passwd">]>'):
        began = time.process_time()
        packet = (
            f"{doctype}<rdf:RDF {NAMESPACES}><rdf:Description><dc:source>&i;</dc:source></rdf:Description></rdf:RDF>"
        )
        assert xmp.read(packet.encode()) == {}
        assert time.process_time() - began < 1


def test_size_depth_and_number_of_properties_are_limited() -> None:
    assert xmp.read(b"<a>" + b" " * (3 << 20) + b"</a>") == {}
    read("<own:deep>" * 20_000 + "</own:deep>" * 20_000)
    assert len(read("".join(f"<own:p{n}>x</own:p{n}>" for n in range(5000)))) <= 1000
    assert len(read(f"<dc:source>{'x' * 100_000}</dc:source>")["dc:source"]) <= 2000
