"""Concurrency tools: single flight, periodic tasks, worker processes, rate limits and retry budgets."""
