"""Ready-made questions about fleet runs, in SQL over the tables that docs/fleet.md describes."""

from __future__ import annotations

from dataclasses import dataclass

HOURS = """hours as (
  select parameters, sum(duration_s) / 3600 as hours, sum(distance_m) / 1000 as km, count(*) as recordings
  from runs where status = 'ok' group by parameters
)"""
"""Hours and kilometres that were replayed, per parameter set."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: what it asks, and the SQL that answers it."""

    title: str
    sql: str


QUESTIONS = {
    "interventions-per-hour": Question(
        "interventions per hour, by the rule that asked for them",
        f"""
with {HOURS}
select i.parameters, i.mode, i.code, i.cause, count(*) as interventions, any_value(hours) as hours,
  count(*) / nullif(any_value(hours), 0) as per_hour, count(*) / nullif(any_value(km), 0) as per_km
from interventions i join hours using (parameters)
group by all order by parameters, interventions desc, mode, code""",
    ),
    "false-stops": Question(
        "stops for objects that were not needed: per hour, and as a share of those that are known about",
        f"""
with {HOURS}, stops as (
  select parameters, count(*) as stops, count(*) filter (needed = false) as false_stops,
    count(*) filter (needed) as needed_stops, count(*) filter (needed is null) as unknown,
    sum(length_s) filter (needed = false) as false_s
  from interventions where stop and cause = 'object' group by parameters
)
select parameters, hours, coalesce(stops, 0) as stops, coalesce(false_stops, 0) as false_stops,
  coalesce(needed_stops, 0) as needed_stops, coalesce(unknown, 0) as unknown,
  coalesce(false_stops, 0) / nullif(hours, 0) as false_stops_per_hour,
  (coalesce(false_stops, 0) + coalesce(unknown, 0)) / nullif(hours, 0) as at_most_per_hour,
  false_stops / nullif(false_stops + needed_stops, 0) as false_share,
  coalesce(false_s, 0) / nullif(hours * 3600, 0) as false_time_share
from hours left join stops using (parameters) order by parameters""",
    ),
    "time-to-stop": Question(
        "from the start of an intervention until ego stands: as driven, and as the first command plans it [s]",
        """
select parameters, mode, count(*) as stops, count(stopped_after_s) as stood,
  quantile_cont(stopped_after_s, 0.1) as driven_p10, median(stopped_after_s) as driven_p50,
  quantile_cont(stopped_after_s, 0.9) as driven_p90, max(stopped_after_s) as driven_max,
  median(planned_stop_s) as planned_p50, quantile_cont(planned_stop_s, 0.9) as planned_p90,
  max(planned_stop_s) as planned_max
from interventions where stop group by parameters, mode order by parameters, stops desc, mode""",
    ),
    "missed": Question(
        "recordings with an incident in which no object made the supervisor stop",
        """
select r.bag, r.parameters, r.scenario, r.margin_min_m
from runs r where r.incident and r.status = 'ok' and not exists (
  select 1 from interventions i
  where i.run = r.run and i.bag = r.bag and i.parameters = r.parameters and i.stop and i.cause = 'object'
) order by r.bag, r.parameters""",
    ),
    "trade-off": Question(
        "per parameter set: how often it disturbs, and how early it acts where it has to",
        f"""
with {HOURS}, acts as (
  select parameters, count(*) filter (stop and cause = 'object') as stops,
    count(*) filter (stop and cause = 'object' and needed = false) as disturbances,
    count(*) filter (stop and cause = 'object' and needed is null) as unknown,
    median(margin_min_m) filter (stop and cause = 'object' and needed) as margin_when_needed_m,
    count(*) filter (mode = 'EMERGENCY_STOP') as emergencies
  from interventions group by parameters
), kept as (
  select parameters, min(margin_min_m) as margin_min_m, median(margin_min_m) as margin_median_m,
    count(*) filter (incident) as incidents,
    count(*) filter (incident and exists (
      select 1 from interventions i where i.run = runs.run and i.bag = runs.bag and i.parameters = runs.parameters
        and i.stop and i.cause = 'object')) as answered
  from runs where status = 'ok' group by parameters
)
select parameters, hours, coalesce(stops, 0) as stops, coalesce(emergencies, 0) as emergencies,
  coalesce(unknown, 0) as unknown, coalesce(disturbances, 0) / nullif(hours, 0) as disturbances_per_hour,
  (coalesce(disturbances, 0) + coalesce(unknown, 0)) / nullif(hours, 0) as at_most_per_hour,
  answered / nullif(incidents, 0) as answered_share, margin_when_needed_m, margin_min_m, margin_median_m
from hours left join acts using (parameters) left join kept using (parameters)
order by at_most_per_hour, parameters""",
    ),
    "worst": Question(
        "the twenty interventions with the smallest margin",
        """
select bag, parameters, start_s, mode, code, margin_min_m, speed, reason
from interventions where margin_min_m is not null order by margin_min_m, bag, parameters, start_s limit 20""",
    ),
    "inputs": Question(
        "health findings: in how many recordings, and for how long in each hour",
        f"""
with {HOURS}
select f.parameters, f.code, f.source, count(distinct f.bag) as recordings, count(*) as spells,
  sum(f.end_s - f.start_s) / nullif(any_value(hours), 0) as seconds_per_hour
from findings f join hours using (parameters) group by all order by spells desc, f.code, f.source, f.parameters""",
    ),
    "failed": Question(
        "recordings that could not be replayed, and why",
        "select bag, parameters, error from runs where status <> 'ok' order by bag, parameters",
    ),
    "cost": Question(
        "what a replay costs: CPU seconds and bytes per hour of recording",
        """
select parameters, count(*) as jobs, sum(duration_s) / 3600 as hours,
  sum(cpu_s) / nullif(sum(duration_s) / 3600, 0) as cpu_s_per_hour,
  sum(duration_s) / nullif(sum(cpu_s), 0) as times_real_time,
  sum(bytes) / nullif(sum(duration_s) / 3600, 0) as bytes_per_hour
from processing group by parameters order by parameters""",
    ),
}
