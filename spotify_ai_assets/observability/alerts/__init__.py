"""Who is told when it hurts: routes by owner, thresholds, one incident for one trouble, and its end."""
