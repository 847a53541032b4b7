"""Monitoring: health checks, metrics, the log, recent errors and the status report.

`metrics` loads the Prometheus library, so it is imported only if metrics are enabled.
"""
