"""What the server reports about itself: health checks, metrics, the log, recent errors and the status report.

`metrics` loads the Prometheus library, so it is imported only where metrics are enabled.
"""
