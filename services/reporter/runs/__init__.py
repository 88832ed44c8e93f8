"""Reports by themselves: schedules, the periods that are due, editions, what is to be delivered."""
