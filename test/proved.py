"""The shipped claims on the passenger car: each is examined once in a test run, whoever asks first."""

from __future__ import annotations

from safety_supervisor import vehicle_file
from safety_supervisor.prove import claims, jobs
from safety_supervisor.prove.second_opinion import SecondOpinion

PROOFS = vehicle_file.share_dir("proofs")
CLAIMS = claims.load(PROOFS)
CAR = vehicle_file.vehicles()["passenger_car"]


def examined(once, claim, scope):
    """The report of a shipped claim; `once` is the fixture of that name."""

    def make():
        return jobs.examine(claim, scope, vehicle_file.load(CAR), jobs.Options(), SecondOpinion())

    return once(f"{claim.id}, {scope}", make)
