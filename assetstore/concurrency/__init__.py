"""Concurrency tools: single flight, fair queues, concurrency limits, periodic tasks, worker processes, rate limits and
retry budgets.
"""
