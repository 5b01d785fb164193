"""tests/interop/prom.py - a strict reader of the text format of Prometheus, version 0.0.4: what a
scraper would only wonder about is an error here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN")
Key = tuple[str, tuple[tuple[str, str], ...]]  # name, sorted labels


@dataclass
class Scrape:
    types: dict[str, str] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    samples: dict[Key, float] = field(default_factory=dict)

    def sum(self, name: str, labels: dict[str, str]) -> float:
        """Of the samples that have these labels, among others; there must be some."""
        found = [
            v
            for (n, own), v in self.samples.items()
            if n == name and labels.items() <= dict(own).items()
        ]
        assert found, f"no {name} with {labels}"
        return sum(found)


def family_of(name: str, types: dict[str, str]) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and types.get(base) == "histogram":
            return base
    return name


def parse(text: str) -> Scrape:
    scrape = Scrape()
    current = ""
    assert text.endswith("\n") and "\r" not in text
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current, _, words = line[7:].partition(" ")
            assert NAME.fullmatch(current) and words.strip(), line
            assert current not in scrape.helps, f"family twice, or not in one piece: {line}"
            scrape.helps[current] = words
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current and name not in scrape.types, line
            assert kind in ("counter", "gauge", "histogram"), line
            assert (kind == "counter") == name.endswith("_total"), line
            scrape.types[name] = kind
        else:
            key, value = parse_sample(line)
            assert family_of(key[0], scrape.types) == current, f"outside its family: {line}"
            assert key not in scrape.samples, f"twice: {line}"
            scrape.samples[key] = value
    assert set(scrape.types) == set(scrape.helps)
    check_histograms(scrape)
    return scrape


def parse_sample(line: str) -> tuple[Key, float]:
    name = NAME.match(line)
    assert name, line
    at = name.end()
    labels: list[tuple[str, str]] = []
    if line[at : at + 1] == "{":
        at += 1
        while line[at : at + 1] != "}":
            label = LABEL.match(line, at)
            assert label, line
            labels.append((label[1], label[2]))
            at = label.end()
            assert line[at : at + 1] in (",", "}"), line
            at += line[at] == ","
        at += 1
    assert line[at : at + 1] == " " and VALUE.fullmatch(line, at + 1), line
    assert len(dict(labels)) == len(labels), line
    return (name[0], tuple(sorted(labels))), float(line[at + 1 :])


def check_histograms(scrape: Scrape) -> None:
    """Bounds rise, counts do not fall, the last bucket is +Inf and the count, there is a sum."""
    buckets: dict[Key, list[tuple[float, float]]] = {}
    for (name, labels), value in scrape.samples.items():
        base = family_of(name, scrape.types)
        if scrape.types[base] == "histogram" and name.endswith("_bucket"):
            rest = tuple(pair for pair in labels if pair[0] != "le")
            buckets.setdefault((base, rest), []).append((float(dict(labels)["le"]), value))
    for (base, labels), rows in buckets.items():
        assert rows == sorted(rows) and len({bound for bound, _ in rows}) == len(rows), base
        assert [n for _, n in rows] == sorted(n for _, n in rows), base
        assert rows[-1] == (float("inf"), scrape.samples[(f"{base}_count", labels)]), base
        assert (f"{base}_sum", labels) in scrape.samples, base
