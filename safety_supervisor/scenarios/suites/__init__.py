"""Scenario suites: grids and tables of cases run in closed loop, counted, drawn and compared with a bound."""
