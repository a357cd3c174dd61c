"""Checking a certificate without proving anything again: does it fit this vehicle file, this code, these claims?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safety_supervisor import vehicle_file
from safety_supervisor.core.config import Config
from safety_supervisor.prove import claims


def check(path: Path, config: Config) -> tuple[str | None, list[str]]:
    """Return the hash of the certificate and why it does not count; an empty list means that it does.

    Raises `OSError` when there is no such file.
    """
    content = path.read_bytes()
    digest = vehicle_file.matching_certificate(path, config)
    try:
        body = json.loads(content)
        problems = [*([] if digest else _mismatches(body, config)), *_missing(body)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems = [f"damaged: {type(error).__name__}: {error}"]
    if digest is None and not problems:
        problems = ["refused by the loader of certificates"]
    return digest, problems


def _mismatches(body: Any, config: Config) -> Iterator[str]:
    wanted = {
        "schema": vehicle_file.CERTIFICATE_SCHEMA,
        "parameters": config.digest,
        "core": vehicle_file.core_digest(),
        "claims": vehicle_file.claims_digest(),
    }
    for name, value in wanted.items():
        if body[name] != value:
            yield f"{name}: the certificate is for {str(body[name])[:12]}, here it is {str(value)[:12]}"
    for entry in body["results"]:
        if entry["result"] != "PROVED":
            yield f"result: {entry['claim']} [{entry['scope']}] is {entry['result']}"


def _missing(body: Any) -> Iterator[str]:
    results = {(entry["claim"], entry["scope"]) for entry in body["results"]}
    for claim in claims.load(vehicle_file.share_dir("proofs")):
        missing = [scope for scope in claim.scopes if (claim.id, scope) not in results]
        if missing:
            yield f"claims: {claim.id} [{', '.join(missing)}] is not among the results"
