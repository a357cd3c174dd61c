"""The access policy names exactly what the nodes do, and the unit gives the node what it needs and no more."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: rclpy is not installed")

import node_harness as harness

POLICY = harness.ROOT / "config" / "security" / "safety_supervisor.policy.xml"
UNIT = harness.ROOT / "config" / "systemd" / "safety_supervisor.service"
# What a node has in some releases, modes or clocks only.
SOMETIMES = {
    "/clock", "/parameter_events", "/safety_supervisor/shadow/trajectory", "/safety_supervisor/shadow/fallback",
    "/safety_supervisor/get_type_description", "/command_gate/get_type_description",
}  # fmt: skip


def allowed(node: str) -> dict[str, set[str]]:
    """What the policy allows a node: publish, subscribe, reply."""
    (profile,) = ElementTree.parse(POLICY).getroot().findall(f".//profile[@node='{node}']")
    found: dict[str, set[str]] = {"publish": set(), "subscribe": set(), "reply": set()}
    for group in profile:
        (kind,) = (name for name in found if group.get(name) == "ALLOW")
        for entry in group:
            text = (entry.text or "").strip()
            found[kind].add(text.replace("~", f"/{node}") if text.startswith("~") else f"/{text}")
    return found


def done(world: harness.World, node: str) -> dict[str, set[str]]:
    """What a node really publishes, hears and answers, as the graph tells."""
    asked = {
        "publish": world.node.get_publisher_names_and_types_by_node,
        "subscribe": world.node.get_subscriber_names_and_types_by_node,
        "reply": world.node.get_service_names_and_types_by_node,
    }
    return {kind: {name for name, _ in ask(node, "/")} for kind, ask in asked.items()}


@pytest.mark.xdist_group("node")
@pytest.mark.timeout(150)
def test_the_policy_allows_what_the_nodes_do_and_nothing_else(monkeypatch, tmp_path):
    domain = harness.environment(monkeypatch, tmp_path)
    process = harness.supervisor(tmp_path, vehicle_file=harness.VEHICLE, allow_unproved=True)
    gate = harness.Process(
        tmp_path, "safety_supervisor.ros.command_gate", "--ros-args", "-p", f"vehicle_file:={harness.VEHICLE}"
    )
    try:
        with harness.world(domain) as world:
            assert world.configure(), process.said
            for node in ("safety_supervisor", "command_gate"):
                assert world.run(lambda node=node: (node, "/") in world.node.get_node_names_and_namespaces())
                rights = allowed(node)
                seen = lambda node=node, rights=rights: all(  # noqa: E731
                    names - SOMETIMES <= done(world, node)[kind] for kind, names in rights.items()
                )
                assert world.run(seen, 20.0), {k: rights[k] - SOMETIMES - done(world, node)[k] for k in rights}
                assert {k: v - rights[k] for k, v in done(world, node).items() if v - rights[k]} == {}
    finally:
        process.close()
        gate.close()


def test_the_unit_runs_with_real_time_priority_and_writes_its_log_folder_only():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    wanted = {"CPUSchedulingPolicy": "fifo", "Restart": "always", "ProtectSystem": "strict", "User": "ros"}
    assert {name: service[name] for name in wanted} == wanted
    assert 1 <= int(service["CPUSchedulingPriority"]) <= int(service["LimitRTPRIO"]) <= 99
    assert "supervisor_node" in service["ExecStart"]
    assert "ROS_LOG_DIR=/var/log/safety_supervisor" in service["Environment"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit():
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, timeout=60)
    assert "Unknown" not in done.stderr
