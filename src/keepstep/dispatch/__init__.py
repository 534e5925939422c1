"""When runs happen, and who drives them: schedules, queue, workers, and what keeps them going."""
