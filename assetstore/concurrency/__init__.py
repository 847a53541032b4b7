"""Tools for threads and processes that share work: single flight, periodic tasks, rate limits, retry budgets."""
