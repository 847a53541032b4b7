"""Concurrency tools: single flight, periodic tasks, rate limits and retry budgets."""
